"""An evaluation's report as titled tables: the same ones on screen, in Markdown and on the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Section", "markdown", "model_sections", "sections", "suite_sections"]

METRICS = {
    "accuracy": "accuracy", "macro_f1": "macro F1", "weighted_f1": "weighted F1", "roc_auc": "ROC-AUC, mean",
    "average_precision": "average precision, mean", "loss": "loss (nats)", "ece": "calibration error",
}  # fmt: skip
#: where there is no figure
NOTHING = "-"
#: with more labels than this, a table of groups shows no figures of each
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
    found = [_headline(report)] if models else []
    found += _comparisons(report["comparisons"])
    for model in models:
        found += model_sections(model)
    if report["suite"]:
        found += suite_sections(report["suite"])
    return found


def _headline(report: Mapping[str, Any]) -> Section:
    columns: list[tuple[str, Mapping[str, Any]]] = []
    notes: list[str] = []
    for model in report["models"]:
        for part, what in (("clean", "new rows"), ("all", "all rows, LEAKY")):
            if part in model:
                rows = f"{model[part]['rows']:,}"
                named = f"{rows} {what}" if model["leaky_rows"] else f"{rows} rows"
                columns.append((f"{model['name']}, {named}", model[part]))
        notes += _notes(model)
    table = [
        [title, *(_figure(one["figures"][key], one["intervals"].get(key)) for _, one in columns)]
        for key, title in METRICS.items()
    ]
    file = report["file"]
    where = f"{file['name']}: {file['rows']:,} rows, {file['distinct_texts']:,} distinct texts."
    return Section("Figures", [where, *notes], ["", *(name for name, _ in columns)], table)


def _notes(model: Mapping[str, Any]) -> list[str]:
    """What has to be known before a model's figures are believed."""
    name, rows, leaks = model["name"], model["rows"], model["leaks"]
    notes = []
    if leaks is None:
        notes.append(f"{name} does not tell which texts it was trained on: rows it has met are not known.")
    elif not model["leaky_rows"]:
        notes.append(f"No row's text stands among the texts that {name} was trained or validated on.")
    else:
        notes.append(
            f"LEAKY: {model['leaky_rows']:,} of {rows:,} rows were met by {name} ({leaks.get('training', 0):,} in "
            f"training, {leaks.get('validation', 0):,} in validation, where its epoch was chosen and its calibration "
            "fitted); "
            + ("figures are given with and without them." if "clean" in model else "none is left that it has not met.")
        )
    if model["truncated"]:
        notes.append(f"{model['truncated']:,} rows were cut at the limit of {name} ({model['max_length']} tokens).")
    review = model["review"]
    if review["rows"]:
        rest = review.get("accuracy_of_the_rest")
        of_rest = f"; of the rest, {rest:.4f} have the right label" if rest is not None else ""
        notes.append(f"{name} leaves {review['rows']:,} rows ({review['share']:.1%}) to people{of_rest}.")
    return notes


def _comparisons(comparisons: Sequence[Mapping[str, Any]]) -> list[Section]:
    if not comparisons:
        return []

    def row(title: str, cell: Callable[[Mapping[str, Any]], str]) -> list[str]:
        return [title, *map(cell, comparisons)]

    def difference(key: str) -> list[str]:
        return row(f"{METRICS[key]}, difference", lambda one: _signed(one["differences"][f"{key}_difference"]))

    rows = [
        row("rows that neither met", lambda one: f"{one['rows']:,}"),
        row("same label", lambda one: f"{one['same_label']:.2%}"),
        *(difference(key) for key in ("accuracy", "macro_f1", "loss", "ece")),
        row("texts that only the first has right", lambda one: str(one["mcnemar"]["only_first_right"])),
        row("texts that only the second has right", lambda one: str(one["mcnemar"]["only_second_right"])),
        row("p of McNemar's exact test", lambda one: f"{one['mcnemar']['p']:.3f}"),
    ]
    note = (
        "Differences are the first minus the second, with the 95% interval of the paired bootstrap; McNemar's test is "
        "over distinct texts. An interval that holds 0, or a p that is not small, shows no difference on these rows; "
        "it does not show that there is none."
    )
    header = ["", *(f"{one['first']} against {one['other']}" for one in comparisons)]
    return [Section("Side by side", [note], header, rows)]


def model_sections(model: Mapping[str, Any]) -> list[Section]:
    """Labels, confusion and groups of one model."""
    name, told = model["name"], model.get("clean") or model["all"]
    of = f"{told['rows']:,} {'new rows' if model['leaky_rows'] and 'clean' in model else 'rows'}"
    rows = []
    for label, one in told["figures"]["per_class"].items():
        # Of a label that no row has, nothing can be found.
        cells = [
            _figure(
                one[key] if one["support"] or key == "precision" else None,
                told["intervals"].get(f"per_class/{label}/{key}"),
            )
            for key in ("precision", "recall", "f1", "roc_auc", "average_precision")
        ]
        rows.append([label, f"{one['support']:,}", *cells])
    header = ["label", "rows", "precision", "recall", "F1", "ROC-AUC", "average precision"]
    found = [Section(f"By label: {name}, {of}", [], header, rows)]
    if confusion := told["figures"]["confusion"]:
        labels = list(told["figures"]["per_class"])
        table = [[label, *(f"{cell:,}" for cell in row)] for label, row in zip(labels, confusion, strict=True)]
        found.append(Section(f"Confusion: {name}", [], ["true, said", *labels], table))
    for column, groups in model["groups"].items():
        found.append(_groups(f"By {column}: {name}, {of}", groups))
    return found


def _groups(title: str, groups: Sequence[Mapping[str, Any]]) -> Section:
    labels = list(groups[0]["per_class"]) if groups and len(groups[0]["per_class"]) <= FEW_LABELS else []
    header = ["value", "rows", "accuracy", "macro F1"]
    for label in labels:
        header += [f"{label} found", f"{label} said wrongly"]
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
    notes = [f"{suite['cases']:,} cases. What counts as {positive}: {taken}.", *suite["notes"]]
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
        lines += [f"{'#' * level} {_plain(part.title)}", ""]
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
