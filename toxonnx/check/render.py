"""A report in words and tables, as the screen and the page show it."""

from __future__ import annotations

from typing import Any

from toxonnx.check.finding import listing, plural

__all__ = [
    "MOST",
    "baseline_table",
    "class_table",
    "column_table",
    "fact_lines",
    "finding_lines",
    "verdict",
]

Content = tuple[list[str], list[list[str]]]

#: classes and columns that are shown, at most
MOST = 30


def fact_lines(report: dict[str, Any]) -> dict[str, str]:
    """Facts of the file: name -> value."""
    names = listing([repr(name) for name in report["columns"]], 20)
    facts = {
        "rows": f"{report['rows']:,} in {report['file']}, {report['usable_rows']:,} with a text and a known label",
        "columns": f"{len(report['columns'])}: {names}",
        "text": ", ".join(map(repr, report["text_columns"]))
        + (f", normalised: {', '.join(report['normalise'])}" if report["normalise"] else ", not normalised"),
        "label": ", ".join(map(repr, report["label_columns"])),
    }
    if report["recipe"]:
        facts["recipe"] = report["recipe"]
    if report["tokens"]:
        one = report["tokens"]
        facts["tokens"] = (
            f"{one['mean']:.1f} on average, median {one['p50']:.0f}, 95% up to {one['p95']:.0f}, most {one['max']:,}; "
            f"limit {one['limit']} (tokenizer of {one['tokenizer']})"
        )
    if report["usable_rows"]:
        facts["distinct texts"] = f"{report['distinct_texts']:,}"
    if report["blank_lines"]:
        facts["blank lines"] = f"{report['blank_lines']:,}"
    return facts


def class_table(report: dict[str, Any]) -> Content:
    """Rows, share and distinct texts of each class, the largest first where not all are shown."""
    classes = report["classes"]
    if len(classes) > MOST:
        classes = sorted(classes, key=lambda one: -one["rows"])[:MOST]
    rows = [[one["name"], f"{one['rows']:,}", f"{one['share']:.1%}", f"{one['distinct_texts']:,}"] for one in classes]
    if len(report["classes"]) > MOST:
        rows.append([f"and {len(report['classes']) - MOST:,} more", "", "", ""])
    return ["label" if report["multi_label"] else "class", "rows", "share", "distinct texts"], rows


def finding_lines(finding: dict[str, Any]) -> list[str]:
    """What a finding says: the sentence, where, and what to do."""
    lines = [f"{finding['kind']}: {finding['message']}"]
    if finding["lines"]:
        numbers = ", ".join(map(str, finding["lines"]))
        more = f" and {finding['more']:,} more" if finding["more"] else ""
        where = f" of {finding['file']}" if finding["file"] else ""
        lines.append(f"{'lines' if len(finding['lines']) > 1 else 'line'} {numbers}{more}{where}")
    if finding["advice"]:
        lines.append(finding["advice"])
    return lines


def baseline_table(report: dict[str, Any]) -> Content:
    """What the majority guess and counted words score on each split."""
    header = ["split", "held out", "leaking", "accuracy", "range", "macro F1", "range", "majority", "its macro F1"]
    rows = []
    for one in report["baselines"]:
        words, guess = one["baseline"], one["majority"]
        rows.append(
            [
                one["split"], f"{one['held_out_rows']:,}", f"{one['leaking_rows']:,}",
                f"{words['accuracy']['median']:.3f}", _range(words["accuracy"]),
                f"{words['macro_f1']['median']:.3f}", _range(words["macro_f1"]),
                f"{guess['accuracy']['median']:.3f}", f"{guess['macro_f1']['median']:.3f}",
            ]
        )  # fmt: skip
    for one in (report["validation"] or {}).get("baselines", []):
        words, guess = one["baseline"], one["majority"]
        rows.append(
            [
                one["split"], f"{one['held_out_rows']:,}", "", f"{words['accuracy']:.3f}", "",
                f"{words['macro_f1']:.3f}", "", f"{guess['accuracy']:.3f}", f"{guess['macro_f1']:.3f}",
            ]
        )  # fmt: skip
    return header, rows


def _range(values: dict[str, float]) -> str:
    return f"{values['min']:.3f}-{values['max']:.3f}"


def column_table(report: dict[str, Any]) -> Content:
    """What each column by itself predicts: all classes, and the one that it tells from the rest best."""
    header = [
        "column",
        "in the text",
        "values",
        "right",
        "majority",
        "errors taken away",
        "one class best",
        "its errors",
    ]
    rows = []
    for one in report["columns_alone"][:MOST]:
        whole = next((target for target in one["targets"] if not target["class"]), None)
        single = [target for target in one["targets"] if target["class"]]
        best = max(single, key=lambda target: target["errors_removed"], default=None)
        row = [one["column"], "yes" if one["in_text"] else "", f"{one['distinct']:,}"]
        row += [f"{whole[key]:.1%}" for key in ("accuracy", "majority")] if whole else ["", ""]
        row += [_percent(whole["errors_removed"]) if whole else ""]
        row += [best["class"], _percent(best["errors_removed"])] if best else ["", ""]
        rows.append(row)
    return header, rows


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("-0%", "0%") if share > -0.005 else f"{share:.0%}"


def verdict(report: dict[str, Any]) -> str:
    """One closing line."""
    counts = report["counts"]
    return ", ".join(plural(counts[severity], severity) for severity in ("error", "warning", "note"))
