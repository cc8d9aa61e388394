"""The model card that a bundle carries, written from its manifest and its recipe."""

from __future__ import annotations

from typing import Any

from toxonnx.bundle import Manifest
from toxonnx.evaluate.metrics import comparison
from toxonnx.recipe import Recipe

__all__ = ["model_card"]


def model_card(manifest: Manifest, recipe: Recipe | None) -> str:
    """Markdown: what the model is, what it was measured to do, and what it must not be used for."""
    labels = ", ".join(f"`{name}`" for name in manifest.labels.names)
    parts = [f"# {manifest.name}", ""]
    if recipe and recipe.description:
        parts += [recipe.description, ""]
    parts += [
        f"Text classification into {labels} ({_kind(manifest)}), {manifest.precision}, "
        f"texts up to {manifest.max_length} tokens. Made by toxonnx {manifest.tools.get('toxonnx', '')}.",
        "",
        "```sh",
        f"toxonnx predict comments.csv --bundle {manifest.name}",
        "```",
        "",
        "The folder also loads in `optimum.onnxruntime.ORTModelForSequenceClassification`. Texts have to be normalised "
        f"first as `toxonnx.json` says: {', '.join(manifest.text.normalise) or 'not at all'}.",
        "",
        "## Model",
        "",
        *_model_lines(manifest),
    ]
    for title, body in (recipe.card if recipe else {}).items():
        parts += ["", f"## {title}", "", body.strip()]
    test = manifest.verification.get("test")
    if test:
        parts += [
            "",
            f"## Figures on the {test['rows']} test rows, which took no part in training or in the choice of the epoch",
            "",
            *_table(test, manifest),
        ]
    parts += ["", "## Verification of the export", "", *_verification(manifest)]
    return "\n".join(parts) + "\n"


def _kind(manifest: Manifest) -> str:
    return "any number of labels a text" if manifest.labels.multi else "one label a text"


def _model_lines(manifest: Manifest) -> list[str]:
    model, training = manifest.model, manifest.training
    lines = [f"- base: {model.get('base')} ({model.get('revision')})"]
    if adapter := model.get("adapter"):
        lines.append(
            f"- LoRA, r={adapter['r']}, alpha={adapter['alpha']}, on {adapter['layers']} linear layers, merged "
            f"(logits moved by {model['merge_largest_logit_difference']:.1e} at most)"
        )
    elif training:
        lines.append("- all weights fine-tuned")
    if calibration := manifest.graph.get("calibration"):
        lines.append(
            f"- int8: scales of activations fixed on {calibration['rows']} texts ({calibration['from']}), smoothing "
            f"{manifest.graph['smoothing']}, weights of {7 if manifest.graph['reduce_range'] else 8} bits"
        )
    if training:
        split, data = training["split"], training["data"]
        leaks = (
            f"LEAKY: {split['leaking']} held-out rows stand in the training rows too"
            if split["leaking"]
            else f"no text on two sides (a random split would leak {split['would_leak_in_a_random_split']} rows)"
        )
        lines += [
            f"- recipe `{training['recipe']}`, epoch {training['best_epoch']} of {training['epochs']} (the best)",
            f"- data: {data['file']}, {data['rows']} rows (sha256 {data['sha256'][:16]}); trained on {split['train']}, "
            f"validated on {split['validation_rows']}, tested on {split['test']}; {leaks}",
        ]
    return lines


def _table(measured: dict[str, Any], manifest: Manifest) -> list[str]:
    header, rows = comparison(measured["figures"], manifest.precision)
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|", *(f"| {' | '.join(row)} |" for row in rows)]
    lines += [
        "",
        f"ONNX {manifest.precision} chooses PyTorch's label on {measured['label_agreement']:.2%} of them. By label:",
        "",
        "| label | precision | recall | F1 | rows |",
        "|---|---|---|---|---|",
    ]
    for name, one in measured["figures"]["final"]["per_class"].items():
        lines.append(f"| {name} | {one['precision']:.3f} | {one['recall']:.3f} | {one['f1']:.3f} | {one['support']} |")
    return lines


def _verification(manifest: Manifest) -> list[str]:
    measured = manifest.verification
    lines = [
        f"On {measured['rows']} rows ({measured['rows_from']}), against the merged model in PyTorch:",
        "",
        f"- ONNX fp32: largest logit difference {measured['fp32_largest_logit_difference']:.1e}",
        f"- {manifest.precision}: the same label on {measured['label_agreement']:.2%} of the rows, largest probability "
        f"difference {measured['largest_probability_difference']:.4f}",
    ]
    if not measured["labelled"]:
        return [*lines, "- no labelled rows were given: accuracy was not verified, agreement alone"]
    return [*lines, "", *_table(measured, manifest)]
