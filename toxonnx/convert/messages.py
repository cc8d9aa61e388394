"""Lines for the terminal and the model card about verification, calibration, thresholds and cascades."""

from __future__ import annotations

from typing import Literal

from toxonnx.evaluate.sections import Section, markdown
from toxonnx.inference.classifier import Classifier
from toxonnx.labels import Labels
from toxonnx.manifest import Manifest
from toxonnx.manifest_decisions import Cascade, Decisions, LabelThresholdDict
from toxonnx.wording import exact_percent

__all__ = ["cascade_lines", "cascade_section", "decision_lines", "empty_text_lines", "verification_lines"]


def verification_lines(manifest: Manifest) -> list[str]:
    """The agreement with PyTorch."""
    assert manifest.verification is not None
    agreement, precision = manifest.verification.agreement, manifest.precision
    lines = [
        f"ONNX fp32 vs. PyTorch: largest logit difference {agreement.fp32_largest_logit_difference:.1e}",
        f"{precision} vs. PyTorch: {agreement.summary}, largest probability difference "
        f"{agreement.largest_probability_difference:.4f}",
    ]
    if long := manifest.verification.long_texts:
        lines.append(
            f"the same on {long.rows} {long.rows_from}: {long.fp32_largest_logit_difference:.1e}; same label for "
            f"{long.label_agreement:.2%}, {long.largest_probability_difference:.4f}"
        )
    if agreement.labelled:
        before, after = (agreement.metrics[name]["macro_f1"] for name in ("pytorch", "final"))
        lines.append(f"macro F1: PyTorch {before:.4f}, {precision} {after:.4f}")
    else:
        lines.append("no labelled rows: only the agreement was verified, as the manifest records")
    return lines


def decision_lines(decisions: Decisions | None) -> list[str]:
    """Calibration and thresholds, if any were fitted."""
    if decisions is None:
        return []
    lines = _calibration_lines(decisions)
    for thresholds, where in ((decisions.fitted, decisions.rows_from), (decisions.test, "the run's test split")):
        if thresholds:
            each = ", ".join(
                f"{name} from {label['threshold']:.3f} ({_share('precision', label)}, {_share('recall', label)})"
                for name, label in thresholds["per_class"].items()
            )
            lines.append(
                f"thresholds for {decisions.target}, on {where}: {each}; {thresholds['review']:.1%} of the rows are "
                "marked for review"
            )
    if decisions.missed:
        lines.append(
            f"warning: on the test rows the target is not reached for {', '.join(decisions.missed)}: a threshold for a "
            "rare label is fitted on few rows; ask for more than you need, or fit on more rows"
        )
    return lines


def empty_text_lines(classifier: Classifier) -> list[str]:
    """A warning if a text without any word gets a label."""
    (labels,) = classifier.score([""]).label_names
    if not classifier.labels.multi or not labels:
        return []
    names = ", ".join(labels)
    return [f"warning: texts without any word (a lone emoji, say) get the label {names}: train on some harmless ones"]


def cascade_lines(manifest: Manifest) -> list[str]:
    """The first stage, if there is one."""
    cascade = manifest.cascade
    if cascade is None:
        return []
    checks = {"all rows": cascade.agreement, **cascade.recall}
    return [
        f"cascade: the first stage, fitted on {cascade.fitted_rows:,} rows ({cascade.rows_from}), answers "
        f"{cascade.early:.1%} of {cascade.agreement.rows:,} others",
        "decided as by the full model, with 95% confidence: "
        + ", ".join(f"{name} {check}" for name, check in checks.items())
        + _not_promised("; no promise for {}", cascade, manifest.labels),
    ]


def _not_promised(text: str, cascade: Cascade, labels: Labels) -> str:
    """The text about the labels without a promise; empty if there are none."""
    names = [name for name in labels.names if name not in cascade.recall]
    return text.format(", ".join(names)) if names else ""


def cascade_section(cascade: Cascade, labels: Labels) -> list[str]:
    """Lines of the model card, in Markdown."""
    rows = [
        [name, exact_percent(check.wanted), f"{check.rows:,}", f"{check.disagreements:,}"]
        for name, check in {"all rows": cascade.agreement, **cascade.recall}.items()
    ]
    table = Section("", [], ["rows", "decided alike, at least", "tested on", "decided otherwise"], rows)
    return [
        f"A first stage answers the texts that it is sure of: {cascade.early:.1%} of {cascade.agreement.rows:,} texts "
        f"({cascade.rows_from}) on which it was tested. It was fitted on the full model's scores of "
        f"{cascade.fitted_rows:,} others. With 95% confidence, the table holds for texts like these, not for others. "
        f"`--no-cascade` turns it off; `--audit` checks it on your texts."
        + _not_promised(" Of the rows with {}, any share may be decided otherwise.", cascade, labels),
        "",
        markdown([table]).rstrip(),
        "",
        f"Probabilities of early answers differ from the full model's by {cascade.probability_difference:.3f} on "
        "average.",
    ]


def _calibration_lines(decisions: Decisions) -> list[str]:
    lines = []
    if decisions.calibrated and decisions.before and decisions.after:
        each = [f"{name} {one}" for name, one in decisions.calibration.items() if not one.left_out]
        lines.append(
            f"probabilities: {'; '.join(each) or f'temperature {decisions.temperature:.3f}'}; calibration error "
            f"{decisions.before.ece:.4f} before, {decisions.after.ece:.4f} after ({decisions.measured_on})"
        )
    if decisions.not_calibrated:
        lines.append(f"probabilities are not calibrated: {decisions.not_calibrated}")
    for name, one in decisions.calibration.items():
        if one.left_out:
            lines.append(f"probabilities of {name} are not calibrated: {one.left_out}")
    return lines


def _share(kind: Literal["precision", "recall"], label: LabelThresholdDict) -> str:
    interval = label[kind]
    return f"{kind} {interval[0]:.3f}" if interval else f"no {kind}"
