"""The model card that a bundle carries, written from its manifest and its recipe."""

from __future__ import annotations

from typing import Any

from toxonnx.bundle import Manifest
from toxonnx.evaluate.calibration import ThresholdMetrics
from toxonnx.evaluate.metrics import comparison
from toxonnx.evaluate.report import EvaluationReport
from toxonnx.evaluate.sections import Section, markdown, sections, threshold_section
from toxonnx.formats import LAYOUTS
from toxonnx.recipe import Recipe
from toxonnx.records import from_plain

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
        f"toxonnx predict comments.csv --bundle {manifest.name}{_device(manifest)}",
        "```",
        "",
        _elsewhere(manifest),
        "",
        "## Model",
        "",
        *_model_lines(manifest),
    ]
    for title, body in (recipe.card if recipe else {}).items():
        parts += ["", f"## {title}", "", body.strip()]
    if manifest.evaluation.get("models") or manifest.evaluation.get("suite"):
        parts += ["", "## What it gets right, and what it does not", "", *_evaluation(manifest)]
    if manifest.decisions:
        parts += ["", "## Probabilities and decisions", "", *_decisions(manifest)]
    parts += ["", "## Verification of the export", "", *_verification(manifest)]
    return "\n".join(parts).rstrip() + "\n"


def _device(manifest: Manifest) -> str:
    return " --device cuda" if LAYOUTS[manifest.layout].native else ""


def _elsewhere(manifest: Manifest) -> str:
    normalised = (
        "Texts have to be normalised first as `toxonnx.json` says: "
        f"{', '.join(manifest.text.normalise) or 'not at all'}."
    )
    if LAYOUTS[manifest.layout].packed:
        return (
            "The graph takes the tokens of all rows end to end and runs on CUDA alone; other tools do not feed it so. "
            "Export with `--layout fused` or `plain` for them."
        )
    return f"The folder also loads in `optimum.onnxruntime.ORTModelForSequenceClassification`. {normalised}"


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


def _evaluation(manifest: Manifest) -> list[str]:
    """Metrics with intervals, beside what needs no transformer."""
    evaluation, lines = manifest.evaluation, []
    if evaluation["part"] == "validation" and evaluation["models"]:
        lines += ["No rows were kept back for a test: these chose the epoch, and metrics on them flatter.", ""]
    if one := manifest.training.get("baselines", {}).get(evaluation["part"]):
        lines += [
            f"For comparison, on the same {evaluation['part']} rows, trained on the same others: counting words "
            f"(TF-IDF, logistic regression) has accuracy {one['tfidf']['accuracy']:.4f} and macro F1 "
            f"{one['tfidf']['macro_f1']:.4f}; always saying the most frequent class {one['majority']['accuracy']:.4f} "
            f"and {one['majority']['macro_f1']:.4f}.",
            "",
        ]
    lines.append(markdown(sections(_report(evaluation)), level=3).rstrip())
    if evaluation["suite"]:
        lines += ["", evaluation["suite"]["source"].strip()]
    return lines


def _report(evaluation: dict[str, Any]) -> EvaluationReport:
    return EvaluationReport.from_dict({key: value for key, value in evaluation.items() if key != "part"})


def _decisions(manifest: Manifest) -> list[str]:
    decisions = manifest.decisions
    if "left" in decisions:
        lines = [f"Probabilities are the model's own: {decisions['left']}."]
    elif decisions["temperature"] == 1:
        lines = ["Probabilities are the model's own: they were not calibrated."]
    else:
        before, after = decisions["before"], decisions["after"]
        lines = [
            f"Logits are divided by a temperature of {decisions['temperature']:.4f}, fitted on {decisions['rows']} "
            f"rows ({decisions['rows_from']}). On {decisions['measured_on']}, the calibration error goes from "
            f"{before['ece']:.4f} to {after['ece']:.4f}, the loss from {before['loss']:.4f} to {after['loss']:.4f}. It "
            "changes no label that is simply the likeliest. Other tools that load this folder give the probabilities "
            "without it.",
        ]
    if "target" not in decisions:
        return lines
    parts = {
        "fitted": f"On the {decisions['rows']} rows that they were fitted on ({decisions['rows_from']})",
        "test": "On the test rows, which took no part in it",
    }
    lines += ["", f"Thresholds for {decisions['target']}.", ""]
    kept = [
        threshold_section(title, from_plain(ThresholdMetrics, decisions[part]))
        for part, title in parts.items()
        if part in decisions
    ]
    if decisions.get("missed"):
        lines += [f"On the test rows {', '.join(decisions['missed'])} misses it.", ""]
    return [*lines, markdown(kept, level=3).rstrip()]


def _table(measured: dict[str, Any], manifest: Manifest) -> str:
    header, rows = comparison(measured["metrics"], manifest.precision)
    return markdown([Section("", [], header, rows)]).rstrip()


def _verification(manifest: Manifest) -> list[str]:
    """What separates the export from PyTorch, on the rows that its limits are about and on the test rows."""
    measured = manifest.verification
    lines = ["By the likeliest label, without the thresholds.", ""] if "target" in manifest.decisions else []
    if manifest.precision == "fp16" or LAYOUTS[manifest.layout].native:
        lines += [f"It ran on {measured['ran_on']}.", ""]
    if measured["ran_on"].startswith("CPU") and (manifest.precision == "fp16" or LAYOUTS[manifest.layout].native):
        told = ["No GPU took part."]
        if manifest.precision == "fp16":
            told.append("Weights were rounded to fp16, and not every value inside, as a GPU's kernels do it.")
        if LAYOUTS[manifest.layout].packed:
            told.append("Attention over packed rows was done by standard operators in place of the CUDA kernel.")
        told.append(
            f"`toxonnx doctor --bundle {manifest.name} --device cuda` compares some sentences with PyTorch on a "
            "GPU; `toxonnx eval` with `--compare` and `--device cuda`, as many rows as you give it."
        )
        lines += [" ".join(told), ""]
    if "largest_product" in manifest.graph:
        lines += [
            f"The largest value that a product of matrices gave on some of the rows was "
            f"{manifest.graph['largest_product']:,.1f}; fp16 ends at 65,504.",
            "",
        ]
    exact = f"fp32, {manifest.layout}" if LAYOUTS[manifest.layout].native else "fp32"
    parts = [measured, *([measured["test"]] if "test" in measured else [])]
    for one in parts:
        lines += [
            f"On {one['rows']} rows ({one['rows_from']}), against the merged model in PyTorch:",
            "",
            f"- ONNX {exact}: largest logit difference {one['fp32_largest_logit_difference']:.1e}",
            f"- {manifest.precision}: the same label on {one['label_agreement']:.2%} of the rows, largest probability "
            f"difference {one['largest_probability_difference']:.4f}",
        ]
        if one["labelled"]:
            lines += ["", _table(one, manifest), ""]
        else:
            lines.append("- no labelled rows were given: accuracy was not verified, agreement alone")
    return lines
