"""The model card of a bundle, written from its manifest and recipe."""

from __future__ import annotations

import dataclasses

from toxonnx.convert.messages import cascade_section
from toxonnx.evaluate.metrics import comparison
from toxonnx.evaluate.report import EvaluationReport
from toxonnx.evaluate.sections import Section, markdown, sections, threshold_section
from toxonnx.evaluate.thresholds import ThresholdMetrics
from toxonnx.formats import LAYOUTS
from toxonnx.manifest import Manifest, Training
from toxonnx.manifest_decisions import Decisions
from toxonnx.manifest_verification import Agreement
from toxonnx.recipe import LabelSpec, Recipe
from toxonnx.recipe_prose import settings_fingerprint, with_prose_of
from toxonnx.records import from_plain
from toxonnx.train.pretrained import shown_name
from toxonnx.train.run import RunMetadata

__all__ = ["model_card", "without_foreign_prose"]


def model_card(manifest: Manifest, recipe: Recipe | None) -> str:
    """The card in Markdown, from the manifest and from the description and paragraphs of the recipe."""
    labels = ", ".join(f"`{name}`" for name in manifest.labels.names)
    lines = [f"# {manifest.name}", ""]
    if recipe and recipe.description:
        lines += [recipe.description, ""]
    if manifest.label_descriptions:
        lines += [*(f"- `{name}`: {meaning}" for name, meaning in manifest.label_descriptions.items()), ""]
    lines += [
        f"Text classification into {labels} ({'multi-label' if manifest.labels.multi else 'single-label'}), "
        f"{manifest.precision}, texts of up to {manifest.max_length} tokens"
        f"{f' (longer ones: {manifest.long_texts})' if manifest.long_texts else ''}"
        f"{f', in {manifest.language}' if manifest.language else ''}. Made with toxonnx "
        f"{manifest.tools.get('toxonnx', '')}.",
        *_left_out(manifest),
        "",
        "```sh",
        f"toxonnx predict comments.csv --bundle {manifest.name}"
        f"{' --device cuda' if LAYOUTS[manifest.layout].native else ''}",
        "```",
        "",
        _other_tools(manifest),
        *(["", "## Names elsewhere", "", *_mappings(manifest)] if manifest.mappings else []),
        "",
        "## Model",
        "",
        *_model_lines(manifest),
    ]
    for title, body in (recipe.card if recipe else {}).items():
        lines += ["", f"## {title}", "", body.strip()]
    if manifest.evaluation.get("models") or manifest.evaluation.get("suite"):
        lines += ["", "## Evaluation", "", *_evaluation(manifest)]
    if manifest.decisions:
        lines += ["", "## Calibration and thresholds", "", *_decisions(manifest.decisions)]
    if manifest.cascade:
        lines += ["", "## Cascade", "", *cascade_section(manifest.cascade, manifest.labels)]
    lines += ["", "## Verification of the export", "", *_verification(manifest)]
    return "\n".join(lines).rstrip() + "\n"


def without_foreign_prose(recipe: Recipe, run: RunMetadata | None) -> tuple[Recipe, str]:
    """A recipe without the prose that was written for other data or settings.

    Args:
        recipe: the settings that the model was trained with, and the prose for its card.
        run: the training; None for a model from elsewhere, whose data and settings are unknown.

    Returns:
        The recipe, and what the prose was written for: ``data``, ``settings``, both, or empty where nothing was left
        out.
    """
    written_for, others = recipe.written_for, []
    if written_for.data:
        validated_on = run.validation_file.sha256 if run and run.validation_file else ""
        if run is None or (run.data.sha256, validated_on) != (written_for.data, written_for.validation):
            others.append("data")
    if written_for.settings:
        model = dataclasses.replace(recipe.model, base=shown_name(run.base)) if run else recipe.model
        if run is None or settings_fingerprint(dataclasses.replace(recipe, model=model)) != written_for.settings:
            others.append("settings")
    if others:
        recipe = with_prose_of(recipe, Recipe("", LabelSpec()))
    return recipe, " and ".join(others)


def _left_out(manifest: Manifest) -> list[str]:
    if not manifest.left_out_labels:
        return []
    names = ", ".join(f"`{name}`" for name in manifest.left_out_labels)
    return ["", f"The model was also trained on labels that are left out here: {names}."]


def _other_tools(manifest: Manifest) -> str:
    if LAYOUTS[manifest.layout].packed:
        return (
            "The graph takes the concatenated tokens of all rows and runs only on CUDA; other tools cannot use it. "
            "For them, export with `--layout fused` or `plain`."
        )
    steps = ", ".join(manifest.text.normalise)
    return (
        "The folder can also be loaded with `optimum.onnxruntime.ORTModelForSequenceClassification`. "
        + (f"Texts must then be normalised first as in `toxonnx.json`: {steps}." if steps else "")
    ).strip()


def _mappings(manifest: Manifest) -> list[str]:
    rows = [[service, *pair] for service, names in manifest.mappings.items() for pair in names.items()]
    table = markdown([Section("", [], ["service", "its name", "label"], rows)]).rstrip()
    return ["What other services call these labels. Their other names have no counterpart here.", "", table]


def _model_lines(manifest: Manifest) -> list[str]:
    model, graph = manifest.model, manifest.graph
    lines = [f"- base: {model.base} ({model.revision})"]
    if model.adapter:
        lines.append(
            f"- {model.training_method}, merged (logits changed by at most "
            f"{model.merge_largest_logit_difference or 0:.1e})"
        )
    elif manifest.training:
        lines.append(f"- {model.training_method}")
    if graph.calibration:
        lines.append(
            f"- int8: activation scales measured on {graph.calibration.rows} texts ({graph.calibration.source}), "
            f"smoothing {graph.smoothing}, {7 if graph.reduce_range else 8}-bit weights"
        )
    return lines + (_training_lines(manifest.training) if manifest.training else [])


def _training_lines(training: Training) -> list[str]:
    split, data = training.split, training.data
    leaks = (
        f"LEAKY: the texts of {split['leaking']} held-out rows are also in the training rows"
        if split["leaking"]
        else "identical texts are on one side of the split"
    )
    if would_leak := split["would_leak_in_a_random_split"]:
        leaks += f" (a random split would leak {would_leak} rows)"
    teacher = ", ".join(f"{name} (sha256 {digest[:16]})" for name, digest in training.teacher.items())
    lines = [
        f"- recipe `{training.recipe}`, epoch {training.best_epoch} of {training.epochs} (the best one)",
        f"- data: {data['file']}, {data['rows']} rows (sha256 {data['sha256'][:16]}): {split['train']} for training, "
        f"{split['validation_rows']} for validation, {split.get('test_rows', split['test'])} for testing; {leaks}",
        *([f"- it also learnt the probabilities of {teacher}"] if teacher else []),
    ]
    if training.sources:
        rows = [
            [name, f"{source['rows']:,}", f"{source['weight']:g}", source["licence"] or "not given"]
            for name, source in training.sources.items()
        ]
        table = Section("", [], ["source", "rows", "weight in training", "licence"], rows)
        lines += ["", "Sources of the rows:", "", markdown([table]).rstrip()]
    return lines


def _evaluation(manifest: Manifest) -> list[str]:
    """Metrics with intervals, and those of the baselines."""
    table = dict(manifest.evaluation)
    part = table.pop("part")
    report, lines = EvaluationReport.from_dict(table), []
    if part == "validation" and report.models:
        lines += [
            "There is no test split: these rows were used to choose the epoch, which inflates the metrics on them.",
            "",
        ]
    if manifest.training and (baselines := manifest.training.baselines.get(part)):
        tfidf, majority = baselines["tfidf"], baselines["majority"]
        accuracies = [
            f"an accuracy of {one['accuracy']:.4f} and " if "accuracy" in one else "" for one in (tfidf, majority)
        ]
        lines += [
            f"Baselines, trained on the same training rows and measured on the same {part} rows: TF-IDF with logistic "
            f"regression has {accuracies[0]}a macro F1 of {tfidf['macro_f1']:.4f}; always predicting the most "
            f"frequent class has {accuracies[1]}a macro F1 of {majority['macro_f1']:.4f}.",
            "",
        ]
    worse = manifest.verification.worse_than_baseline if manifest.verification else []
    lines += [line for reason in worse for line in (f"**The {reason}.**", "")]
    lines.append(markdown(sections(report), level=3).rstrip())
    if report.suite:
        lines += ["", report.suite.source.strip()]
    return lines


def _decisions(decisions: Decisions) -> list[str]:
    lines = _calibration(decisions)
    if not decisions.target:
        return lines
    lines += ["", f"Thresholds for {decisions.target}.", ""]
    tables = []
    for title, measured in (
        (f"On the {decisions.rows} rows that they were fitted on ({decisions.rows_from})", decisions.fitted),
        ("On the test rows, which they were not fitted on", decisions.test),
    ):
        if measured:
            tables.append(threshold_section(title, from_plain(ThresholdMetrics, measured)))
    if decisions.missed:
        lines += [f"On the test rows, the target is not reached for {', '.join(decisions.missed)}.", ""]
    return [*lines, markdown(tables, level=3).rstrip()]


def _calibration(decisions: Decisions) -> list[str]:
    before, after = decisions.before, decisions.after
    fitted_on = f"{decisions.rows} rows ({decisions.rows_from})"
    if decisions.not_calibrated:
        return [f"Probabilities are not calibrated: {decisions.not_calibrated}."]
    if decisions.temperature == 1 and not decisions.calibration:
        return ["Probabilities are not calibrated."]
    if decisions.calibration:
        lines = [
            "The logit of each label is multiplied by a scale, and a shift is added to it (Platt scaling), fitted on "
            f"those of {fitted_on} in which the label was judged. Both are part of the weights, so that every program "
            "that runs the graph gives the calibrated probabilities.",
        ]
    else:
        lines = [
            f"Logits are divided by a temperature of {decisions.temperature:.4f}, fitted on {fitted_on}. It is part of "
            "the weights, so that every program that runs the graph gives the calibrated probabilities. It does not "
            "change which label is the most probable.",
        ]
    if before and after:
        lines[0] += (
            f" On {decisions.measured_on}, calibration changes the calibration error from {before.ece:.4f} to "
            f"{after.ece:.4f} and the loss from {before.loss:.4f} to {after.loss:.4f}."
        )
    if decisions.calibration:
        lines += ["", markdown([_label_calibration(decisions)], level=3).rstrip()]
    return lines


def _label_calibration(decisions: Decisions) -> Section:
    rows = []
    for name, one in decisions.calibration.items():
        effect = one.cross_validated
        errors = [f"{effect.before.ece:.4f}", f"{effect.after.ece:.4f}"] if effect else ["-", "-"]
        losses = [f"{effect.before.loss:.4f}", f"{effect.after.loss:.4f}"] if effect else ["-", "-"]
        rows.append(
            [name, f"{one.rows:,}", f"{one.positives:,}", f"{one.scale:.4f}", f"{one.shift:+.4f}", *errors, *losses]
        )
    notes = ["Errors and losses are by cross-validation on the rows that the calibration was fitted on."]
    notes += [
        f"{name} is as it was trained: {one.left_out}." for name, one in decisions.calibration.items() if one.left_out
    ]
    header = ["label", "judged", "rows", "scale", "shift", "calibration error before", "after", "loss before", "after"]
    return Section("Calibration by label", notes, header, rows)


def _verification(manifest: Manifest) -> list[str]:
    """The difference between the export and PyTorch."""
    verification = manifest.verification
    assert verification is not None
    lines = []
    if manifest.decisions and manifest.decisions.target:
        lines += ["Labels are the most probable ones, without the thresholds.", ""]
    for_gpu = manifest.precision == "fp16" or LAYOUTS[manifest.layout].native
    if for_gpu:
        lines += [f"The model ran on {verification.ran_on}.", ""]
    if for_gpu and verification.ran_on.startswith("CPU"):
        lines += [" ".join(_without_gpu(manifest)), ""]
    if manifest.graph.largest_product is not None:
        lines += [
            f"The largest value of a matrix product on some of the rows was {manifest.graph.largest_product:,.1f}; the "
            "largest fp16 value is 65,504.",
            "",
        ]
    for agreement in (verification.agreement, verification.test, verification.long_texts):
        if agreement:
            lines += _agreement(agreement, manifest)
    return lines


def _without_gpu(manifest: Manifest) -> list[str]:
    sentences = ["It was not verified on a GPU."]
    if manifest.precision == "fp16":
        sentences.append(
            "Weights were rounded to fp16, but not all intermediate values, which a GPU's kernels round as well."
        )
    if LAYOUTS[manifest.layout].packed:
        sentences.append("Packed attention was computed with standard operators in place of the CUDA kernel.")
    sentences.append(
        f"`toxonnx doctor {manifest.name} --device cuda` compares some sentences with PyTorch on a GPU; "
        "`toxonnx eval` with `--compare` and `--device cuda` compares any number of rows."
    )
    return sentences


def _agreement(agreement: Agreement, manifest: Manifest) -> list[str]:
    fp32 = f"fp32, {manifest.layout}" if LAYOUTS[manifest.layout].native else "fp32"
    lines = [
        f"On {agreement.rows} rows ({agreement.rows_from}), compared with the merged model in PyTorch:",
        "",
        f"- ONNX {fp32}: largest logit difference {agreement.fp32_largest_logit_difference:.1e}",
        f"- {manifest.precision}: {agreement.summary}, largest probability difference "
        f"{agreement.largest_probability_difference:.4f}",
    ]
    if not agreement.labelled:
        return [*lines, "- there were no labelled rows: only the agreement was verified, not the accuracy", ""]
    header, rows = comparison(agreement.metrics, manifest.precision)
    return [*lines, "", markdown([Section("", [], header, rows)]).rstrip(), ""]
