"""``toxonnx info``"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from toxonnx.long_texts import TRUNCATE
from toxonnx.records import to_json
from toxonnx.wording import exact_percent

if TYPE_CHECKING:
    from toxonnx.bundle import Bundle
    from toxonnx.cli.console import Terminal
    from toxonnx.manifest import Manifest


@click.command("info")
@click.argument("bundle", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the whole manifest as JSON.")
def command(bundle: str | None, as_json: bool) -> None:
    """Describe BUNDLE, a folder or a name, after checking all of its files.

    The default is the bundle that ships with toxonnx.
    """
    from toxonnx.bundle import open_bundle
    from toxonnx.resources import find_bundle

    opened = open_bundle(find_bundle(bundle))
    manifest = opened.manifest
    if as_json:
        click.echo(to_json(manifest.to_dict()), nl=False)
        return
    from toxonnx.cli.console import Terminal

    terminal = Terminal()
    terminal.table(["", ""], [[name, value] for name, value in _lines(opened).items() if value], left=2)
    terminal.print_text("")
    calibrated = bool(manifest.decisions and manifest.decisions.calibration)
    header = ["label", "applies", *(["calibration"] if calibrated else []), "meaning"]
    terminal.table(header, _label_rows(manifest), left=len(header))
    for service, names in manifest.mappings.items():
        pairs = ", ".join(f"{name} is {label}" for name, label in names.items())
        terminal.print_text(f"\nnames of {service}: {pairs}")
    _print_verification(terminal, manifest)
    _print_reliability(terminal, manifest)


def _lines(bundle: Bundle) -> dict[str, str]:
    manifest = bundle.manifest
    labels, text, model = manifest.labels, manifest.text, manifest.model
    return {
        "bundle": f"{manifest.name} ({bundle.size / 1e6:.1f} MB, {len(manifest.files)} files, all hashes match)",
        "about": manifest.description,
        "language": manifest.language,
        "model card": str(bundle.card or ""),
        "labels": f"{', '.join(labels.names)}: {'any number' if labels.multi else 'one'} per text, {labels.activation}",
        "left out": ", ".join(manifest.left_out_labels),
        "text": " + ".join(map(repr, text.columns)) or "one text column",
        "normalisation": ", ".join(text.normalise) or "none",
        "max length": f"{manifest.max_length} tokens",
        "longer texts": str(manifest.long_texts or TRUNCATE),
        "precision": f"{manifest.precision}, layout {manifest.layout}",
        "probabilities": _probabilities(manifest),
        "cascade": _cascade(manifest),
        "base": f"{model.base} ({model.revision[:23]})",
        "training": model.training_method if model.adapter or manifest.training else "",
        "made with": ", ".join(f"{name} {version}" for name, version in manifest.tools.items()),
    }


def _probabilities(manifest: Manifest) -> str:
    """How they are calibrated: in the weights, or (earlier versions) by toxonnx only."""
    labels, decisions = manifest.labels, manifest.decisions
    if labels.temperature != 1:
        return f"temperature {labels.temperature:.4f}, which other programs do not apply"
    if decisions is None or not decisions.calibrated:
        return "not calibrated"
    if not labels.multi:
        return f"calibrated in the graph, temperature {decisions.temperature:.4f}"
    left_out = [name for name, one in decisions.calibration.items() if one.left_out]
    return "calibrated in the graph" + (f", except {', '.join(left_out)}" if left_out else "")


def _cascade(manifest: Manifest) -> str:
    cascade = manifest.cascade
    if cascade is None:
        return ""
    recall = ", ".join(f"{name} {exact_percent(check.wanted)}" for name, check in cascade.recall.items())
    return (
        f"a first stage answers {cascade.early:.0%} of rows like {cascade.rows_from}; at least "
        f"{exact_percent(cascade.agreement.wanted)} of all rows keep the full model's decisions"
        + (f" (by label: {recall})" if recall else "")
    )


def _label_rows(manifest: Manifest) -> list[list[str]]:
    labels = manifest.labels
    calibration = manifest.decisions.calibration if manifest.decisions else {}
    calibrated = {name: [str(one)] for name, one in calibration.items()}
    each = [f"from {threshold:.4f}" for threshold in labels.thresholds] or ["if the most probable"] * len(labels)
    return [
        [name, applies, *calibrated.get(name, []), manifest.label_descriptions.get(name, "")]
        for name, applies in zip(labels.names, each, strict=True)
    ]


def _print_verification(terminal: Terminal, manifest: Manifest) -> None:
    from toxonnx.evaluate.metrics import comparison

    verification, precision = manifest.verification, manifest.precision
    if verification is None:
        return
    for title, agreement in (("verified", verification.agreement), ("tested", verification.test)):
        if agreement is None:
            continue
        ran_on = f" (on {verification.ran_on})" if precision == "fp16" else ""
        terminal.print_text(
            f"\n{title} on {agreement.rows} rows, {agreement.rows_from}: {precision} compared with PyTorch: "
            f"{agreement.summary}{ran_on}; the logits of ONNX fp32 differ from PyTorch's by at most "
            f"{agreement.fp32_largest_logit_difference:.1e}"
        )
        if agreement is verification.agreement:
            limits = verification.limits
            terminal.print_text(
                f"(limits of the export: the same label for {limits.label_agreement:.2%}, logits of ONNX fp32 within "
                f"{limits.fp32_largest_logit_difference:.0e}, macro F1 lower by at most {limits.macro_f1_loss:.4f})"
            )
        if agreement.labelled:
            terminal.table(*comparison(agreement.metrics, precision))
        else:
            terminal.print_text("there were no labelled rows: only the agreement was verified")


def _print_reliability(terminal: Terminal, manifest: Manifest) -> None:
    """How often a label with a certain score is right: what a user can expect of a score like 0.40."""
    from toxonnx.evaluate.report import EvaluationReport

    report = EvaluationReport.of_manifest(manifest.evaluation)
    if report is None or report.file is None or not report.models:
        return
    what = "a label applied, by its probability" if manifest.labels.multi else "the label was right, by its score"
    terminal.print_text(f"\nhow often {what}, on {report.file.rows} rows, {report.file.name}:")
    rows = []
    for one in report.models[0].reliability:
        low, high = one.interval
        rows.append([f"{one.probability:.2g}", f"{one.count:,}", f"{one.accuracy:.1%} ({low:.1%} to {high:.1%})"])
    # A text counts once for each label of a multi-label model.
    counted = "probabilities" if manifest.labels.multi else "rows"
    terminal.table(["mean score", counted, "right (95% interval)"], rows)
