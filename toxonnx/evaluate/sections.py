"""An evaluation's report as titled tables: the same ones on screen, in Markdown and on the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "CONFUSION",
    "Section",
    "comparison_sections",
    "headline",
    "markdown",
    "model_sections",
    "sections",
    "suite_sections",
    "threshold_section",
]

METRICS = {
    "accuracy": "accuracy", "macro_f1": "macro F1", "weighted_f1": "weighted F1", "roc_auc": "ROC-AUC, mean",
    "average_precision": "average precision, mean", "loss": "loss (nats)",
}  # fmt: skip
#: where a row's text was met
MET = {
    "training": "in training",
    "validation": "in validation, where its epoch was chosen",
    "fitted": "where its scales, temperature or thresholds were fitted",
}
#: what titles of confusion matrices begin with, which a page draws
CONFUSION = "Confusion"
#: where there is no figure
NOTHING = "-"
#: with more labels than this, a table of groups shows no metrics of each
FEW_LABELS = 4


@dataclass(frozen=True)
class Section:
    """A title, sentences under it, and a table, which may be empty; its first ``left`` columns are words."""

    title: str
    notes: list[str] = field(default_factory=list)
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    left: int = 1


def sections(report: Mapping[str, Any]) -> list[Section]:
    """All of a report that the eval verb made."""
    models = report["models"]
    found = [headline(report)] if models else []
    found += comparison_sections(report["comparisons"])
    for model in models:
        found += model_sections(model)
    if report["suite"]:
        found += suite_sections(report["suite"])
    return found


def headline(report: Mapping[str, Any]) -> Section:
    """The metrics of all models side by side, and what has to be known before they are believed."""
    columns: list[tuple[str, Mapping[str, Any]]] = []
    notes: list[str] = []
    for model in report["models"]:
        for part, what in (("clean", "new rows"), ("all", "rows, met ones too: LEAKY")):
            if part in model:
                named = f"{model[part]['rows']:,} {what if model['leaky_rows'] else 'rows'}"
                columns.append((f"{model['name']}, {named}", model[part]))
        notes += _notes(model)
    table = [
        [title, *(_figure(one["metrics"][key], one["intervals"].get(key)) for _, one in columns)]
        for key, title in METRICS.items()
    ]
    table.append(["calibration error", *(_ece(one) for _, one in columns)])
    if any(one["chance_ece"] for _, one in columns):
        notes.append(
            "In brackets: 95% intervals; behind the calibration error, what a model whose every probability is right "
            "would show on as many rows by chance."
        )
    file = report["file"]
    where = f"{file['name']}: {file['rows']:,} rows, {file['distinct_texts']:,} distinct texts."
    return Section("Metrics", [where, *notes], ["", *(name for name, _ in columns)], table)


def _ece(one: Mapping[str, Any]) -> str:
    chance = one["chance_ece"]
    return f"{one['metrics']['ece']:.4f}" + (f" (chance: {chance[0]:.3f} to {chance[1]:.3f})" if chance else "")


def _notes(model: Mapping[str, Any]) -> list[str]:
    """What has to be known before a model's metrics are believed."""
    name, rows, leaky = model["name"], model["rows"], model["leaky_rows"]
    notes = []
    if leaky:
        each = ", ".join(f"{count:,} {MET[where]}" for where, count in model["leaks"].items() if count)
        given = "metrics are given with and without them" if "clean" in model else "none is left that it has not met"
        notes.append(f"LEAKY: {leaky:,} of {rows:,} rows were met by {name} ({each}); {given}.")
    if not model["training_is_known"]:
        notes.append(f"{name} does not tell which texts it was trained on: rows that it met there are not known.")
    elif not leaky:
        notes.append(f"No row's text stands among those that {name} keeps hashes of: {', '.join(model['leaks'])}.")
    for key, what in (("truncated", f"cut at {model['max_length']} tokens"), ("empty", "have an empty text")):
        if model[key]:
            notes.append(f"{model[key]:,} rows {'were ' if key == 'truncated' else ''}{what} ({name}).")
    if model["kind"] == "PyTorch":
        notes.append(f"{name} is scored without the temperature and the thresholds of a bundle.")
    review = model["review"]
    if review["rows"]:
        rest = review.get("accuracy_of_the_rest")
        of_rest = f"; of the rest, {rest:.4f} have the right label" if rest is not None else ""
        notes.append(f"{name} leaves {review['rows']:,} rows ({review['share']:.1%}) to people{of_rest}.")
    return notes


def comparison_sections(comparisons: Sequence[Mapping[str, Any]]) -> list[Section]:
    """Models beside the first one; nothing where there are no others."""
    if not comparisons:
        return []

    def row(title: str, cell: Callable[[Mapping[str, Any]], str]) -> list[str]:
        return [title, *map(cell, comparisons)]

    def difference(key: str) -> list[str]:
        return row(f"{METRICS[key]}, difference", lambda one: _signed(one["differences"][key]))

    rows = [
        row("rows", lambda one: f"{one['rows']:,}" + (" (LEAKY: met by one or both)" if one["leaky"] else "")),
        row("left out, as one or both met them", lambda one: f"{one['leaky_rows_left_out']:,}"),
        row("same label", lambda one: f"{one['same_label']:.2%}"),
        *(difference(key) for key in ("accuracy", "macro_f1", "loss")),
        row("texts that only the first has right", lambda one: str(one["mcnemar"]["only_first_right"])),
        row("texts that only the second has right", lambda one: str(one["mcnemar"]["only_second_right"])),
        row("p of McNemar's exact test", lambda one: _p(one["mcnemar"]["p"])),
    ]
    note = (
        "Differences are the first minus the second, with the 95% interval of the paired bootstrap; McNemar's test is "
        "over distinct texts. An interval that holds 0, or a p that is not small, shows no difference on these rows; "
        "it does not show that there is none."
    )
    header = ["", *(f"{one['first']} against {one['other']}" for one in comparisons)]
    return [Section("Side by side", [note], header, rows)]


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def model_sections(model: Mapping[str, Any]) -> list[Section]:
    """Labels, confusion, thresholds and groups of one model."""
    name, told = model["name"], model.get("clean") or model["all"]
    what = "rows, all met: LEAKY" if "clean" not in model else "new rows" if model["leaky_rows"] else "rows"
    of = f"{name}, {told['rows']:,} {what}"
    rows = []
    for label, one in told["metrics"]["per_class"].items():
        # Nothing can be right where nothing was predicted, nor found where nothing is.
        defined = {"precision": one["predicted"], "recall": one["support"], "f1": one["support"] + one["predicted"]}
        cells = [
            _figure(one[key] if defined.get(key, 1) else None, told["intervals"].get(f"per_class/{label}/{key}"))
            for key in ("precision", "recall", "f1", "roc_auc", "average_precision")
        ]
        rows.append([label, f"{one['support']:,}", f"{one['predicted']:,}", *cells])
    header = ["label", "rows", "predicted", "precision", "recall", "F1", "ROC-AUC", "average precision"]
    found = [Section(f"By label: {of}", [], header, rows)]
    if confusion := told["metrics"]["confusion"]:
        labels = list(told["metrics"]["per_class"])
        table = [[label, *(f"{cell:,}" for cell in row)] for label, row in zip(labels, confusion, strict=True)]
        found.append(Section(f"{CONFUSION}: {of}", [], ["true, predicted", *labels], table))
    if promises := model.get("promises"):
        found.append(threshold_section(f"Thresholds: {of}", promises))
    found += [_groups(f"By {column}: {of}", groups) for column, groups in model["groups"].items()]
    return found


def threshold_section(title: str, kept: Mapping[str, Any]) -> Section:
    """What thresholds do; see :func:`toxonnx.evaluate.calibration.threshold_metrics`."""
    rows = [
        [label, f"{one['threshold']:.4f}", f"{one['predicted']:,}", _share(one["precision"]), _share(one["recall"])]
        for label, one in kept["per_class"].items()
    ]
    note = f"{kept['review']:.1%} of the rows are left to people." if kept["review"] else ""
    return Section(title, [note] if note else [], ["label", "from", "rows predicted", "precision", "recall"], rows)


def _groups(title: str, groups: Sequence[Mapping[str, Any]]) -> Section:
    labels = list(groups[0]["per_class"]) if groups and len(groups[0]["per_class"]) <= FEW_LABELS else []
    header = ["value", "rows", "accuracy", "macro F1"]
    for label in labels:
        header += [f"{label} found", f"{label} predicted wrongly"]
    rows = []
    for one in groups:
        row = [one["value"] or "(empty)", f"{one['rows']:,}", _share(one["accuracy"]), _figure(one["macro_f1"], None)]
        for label in labels:
            row += [_share(one["per_class"][label][key]) for key in ("recall", "false_positive_rate")]
        rows.append(row)
    note = "Found: the label's share of the rows that have it. Said wrongly: its share of the rows that do not."
    return Section(title, [note] if labels else [], header, rows)


def suite_sections(suite: Mapping[str, Any]) -> list[Section]:
    """A functional suite: over all, by functionality, by group; a column of accuracies for each model."""
    answers = suite["models"]
    names = [one["name"] for one in answers]
    positive, negative = suite["positive"], suite["negative"]
    taken = "; ".join(f"{one['name']}: {' or '.join(one['positive_labels'])}" for one in answers)
    notes = [
        f"{suite['cases']:,} cases. What counts as {positive}: {taken}. In brackets: Wilson's 95% intervals, as if no "
        "case were like another.",
        *suite["notes"],
    ]
    overall = [
        [title, f"{answers[0][side]['cases']:,}", *(_share_of(one[side]) for one in answers)]
        for side, title in (("positive", positive), ("negative", negative), ("all", "all"))
        if answers[0][side]
    ]
    kinds = []
    for at, one in enumerate(answers[0]["functionalities"]):
        gold = positive if one["positive"] else negative
        about = f"{one['code']} {one['about']}"
        cells = [_share_of(answer["functionalities"][at]) for answer in answers]
        kinds.append([one["class"], about, gold, f"{one['cases']:,}", *cells])
    found = [
        Section(f"{suite['title']}: accuracy", notes, ["gold label", "cases", *names], overall),
        Section(
            f"{suite['title']} by functionality",
            [],
            ["class", "functionality", "gold label", "cases", *names],
            kinds,
            3,
        ),
    ]
    groups = []
    for at, one in enumerate(answers[0]["groups"]):
        for side, title in (("positive", positive), ("negative", negative)):
            if one[side]:
                cells = [_share_of(answer["groups"][at][side]) for answer in answers]
                groups.append([one["group"], title, f"{one[side]['cases']:,}", *cells])
    if groups:
        found.append(Section(f"{suite['title']} by group", [], ["group", "gold label", "cases", *names], groups, 2))
    return found


def _figure(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return NOTHING
    return f"{value:.4f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")


def _signed(values: Sequence[float | None]) -> str:
    value, low, high = values
    return f"{value:+.4f}" + (f" ({low:+.4f} to {high:+.4f})" if low is not None else "")


def _share(values: Sequence[float] | None) -> str:
    """A share with its interval, in percent."""
    if values is None:
        return NOTHING
    value, low, high = values
    return f"{value:.1%} ({100 * low:.0f} to {100 * high:.0f})"


def _share_of(one: Mapping[str, Any]) -> str:
    return _share((one["accuracy"], one["low"], one["high"]))


def markdown(parts: Sequence[Section], level: int = 2) -> str:
    """Sections as GitHub takes them."""
    lines: list[str] = []
    for part in parts:
        lines += [f"{'#' * level} {_plain(part.title)}", ""] if part.title else []
        for note in part.notes:
            lines += [_plain(note), ""]
        if part.rows:
            rule = ["---"] * part.left + ["---:"] * (len(part.header) - part.left)
            table = [part.header, rule, *part.rows]
            lines += [f"| {' | '.join(map(_plain, row))} |" for row in table] + [""]
    return "\n".join(lines)


def _plain(cell: str) -> str:
    """Text that Markdown leaves as it is: labels and column names come from files."""
    for mark in "\\|`*_<[":
        cell = cell.replace(mark, "\\" + mark)
    return cell.replace("\n", " ")
