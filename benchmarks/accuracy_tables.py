"""The tables of splits, default settings and the cascade."""

from __future__ import annotations

import json
from typing import Any

from markdown_tables import RESULTS, describe_machine, markdown_table, read_reports, with_range

__all__ = ["cascade", "defaults", "sources", "splits"]


def splits() -> str:
    """Metrics of the same recipe with different splits."""
    parts = []
    for report in read_reports("splits-*.json"):
        runs = report["rows"]
        header = [
            "split", "held-out rows", "of these also in the training set", "MiniLM, LoRA: macro F1", "TF-IDF baseline",
            "majority class", "MiniLM: accuracy",
        ]  # fmt: skip
        rows = []
        for run in runs:
            metrics = [f"{run[model]['macro_f1']:.3f}" for model in ("model", "tfidf", "majority")]
            rows.append(
                [_split(run), f"{run['held_out']}", f"{run['leaking']}", *metrics, f"{run['model']['accuracy']:.3f}"]
            )
        first = runs[0]
        versions = ", ".join(f"{name} {version}" for name, version in first["versions"].items())
        epochs = " / ".join(str(run["epochs"]) for run in runs)
        setup = (
            f"{first['data']['file']}, {first['data']['rows']:,} rows; {first['base']}, LoRA on query and value, "
            f"learning rate {first['learning_rate']:g}, {epochs} epochs (best epoch used), seed {first['seed']}; "
            f"{versions}."
        )
        parts.append(f"{markdown_table(header, rows)}\n\n{setup}")
    return "\n\n".join(parts)


def _split(run: dict[str, Any]) -> str:
    if run["method"] == "random":
        return "random"
    columns = f", and by {' and '.join(run['group'])}" if run["group"] else ""
    return f"grouped by identical text{columns}"


def defaults() -> str:
    """Macro F1 and minutes of the smallest recipe and of others, by data set and number of rows."""
    report = json.loads((RESULTS / "defaults.json").read_text(encoding="utf-8"))
    cells = {(cell["data"], cell["candidate"], cell["rows"]): cell for cell in report["cells"]}
    data_sets, candidates, sizes = (list(dict.fromkeys(key[i] for key in cells)) for i in range(3))
    rows = []
    for data in data_sets:
        for candidate in candidates:
            found = [cells.get((data, candidate, size)) for size in sorted(sizes)]
            shown = [
                f"{cell['macro_f1']:.3f} ({cell['seconds'] / 60:.1f} min{'*' * cell['machine']})" if cell else ""
                for cell in found
            ]
            if any(shown):
                rows.append([data, candidate, *shown])
    header = ["data", "trained with", *(f"{size:,} rows" for size in sorted(sizes))]
    setup = (
        f"Macro F1 on {report['test_rows']:,} other rows, and minutes for training and measuring; empty cells were not "
        f"measured. All but TF-IDF start from {report['base']}. "
    ) + " ".join("*" * i + describe_machine(machine) for i, machine in enumerate(report["machines"]))
    return f"{markdown_table(header, rows)}\n\n{setup}"


#: result of benchmarks/toxicity/evaluate.py -> its title in the table of sources
WITH_SOURCES = {
    ("hatecheck", "all"): "HateCheck, all cases",
    ("hatecheck", "positive"): "HateCheck, hateful",
    ("hatecheck", "negative"): "HateCheck, non-hateful",
    ("surge", "toxicity", "auc"): "ROC-AUC of toxicity, comments from many platforms",
    ("openai_mod", "identity_attack", "auc"): "ROC-AUC of identity attacks, prompts and posts",
    ("davidson", "toxicity", "auc"): "ROC-AUC of hateful or offensive tweets",
}


def sources() -> str:
    """What the sources whose authors also wrote HateCheck, or that hold templates, add."""
    report = json.loads((RESULTS / "toxicity-sources.json").read_text(encoding="utf-8"))
    models = report["models"]
    paths = WITH_SOURCES | {
        ("hatecheck", "functionalities", code): code
        for code in next(iter(models.values()))["hatecheck"]["functionalities"]
    }
    rows = []
    for path, title in paths.items():
        values = []
        for measured in models.values():
            value = measured
            for key in path:
                value = value[key]
            values.append(f"{value:.3f}" if path[-1] == "auc" else f"{value:.1%}")
        rows.append([title, *values])
    return f"{markdown_table(['measure', *models], rows)}\n\n{describe_machine(report['machine'])}"


def cascade() -> str:
    """Cascades of each bundle that was measured: rows of the first stage, decisions, speed."""
    return "\n\n".join(_cascade(report) for report in read_reports("cascade-*.json"))


def _cascade(report: dict[str, Any]) -> str:
    speeds = {one["name"]: one for one in report["candidates"]}
    header = [
        report["bundle"], "its own test: answered early, decided alike", f"{report['rows']:,} other tweets",
        "HateCheck", "rows/s on these tweets", "times the full model",
    ]  # fmt: skip
    rows = []
    for one in [{"name": name} for name in speeds if not name.startswith("cascade")] + report["cascades"]:
        cells = ["", "", ""]
        if "promise" in one:
            promise = one["promise"]
            alike = 1 - promise["agreement"]["disagreements"] / promise["agreement"]["rows"]
            cells = [f"{promise['early']:.1%}, {alike:.2%} of {promise['agreement']['rows']:,}"]
            cells += [_early(one[part]) for part in ("tweets", "suite")]
        elif "agreement" in one:
            cells[0] = "cannot keep the promise"
        rows.append([one["name"], *cells, *_speed(speeds.get(one["name"]))])
    return f"{markdown_table(header, rows)}\n\n{describe_machine(report['machine'])}"


def _early(counts: dict[str, int]) -> str:
    alike = 1 - counts["differ"] / counts["rows"]
    return f"{counts['early'] / counts['rows']:.1%}, {alike:.2%} ({counts['differ']} of {counts['early']} otherwise)"


def _speed(speed: dict[str, Any] | None) -> list[str]:
    if speed is None:
        return ["", ""]
    rate, ratio = speed["rows_per_second"], speed["speedup"]
    return [with_range(rate), f"{1 / ratio['median']:.2f} ({1 / ratio['max']:.2f} to {1 / ratio['min']:.2f})"]
