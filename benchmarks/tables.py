"""Writes the tables of benchmarks/README.md, of docs/ and of README.md from the results that are committed here, and
from the manifest of the bundle that ships.

python benchmarks/tables.py            # writes
python benchmarks/tables.py --check    # exit code 1 where a page says something else
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SHAPES = {"distilbert": "DistilBERT, 9 labels", "minilm": "the shipped MiniLM"}
TEXTS = {"tweets": "tweets", "short": "short cases (HateCheck)", "long": "long rows"}
SHIPPED = HERE.parent / "export" / "bundles" / "minilm-hate-int8" / "toxonnx.json"
BARE = "MatMulInteger alone, batches of one length"
OURS = "int8, fixed scales, batches of one length"


def _reports(pattern: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((HERE / "results").glob(pattern))]


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _machine(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    virtual = " (virtual machine)" if machine["virtual"] else ""
    return f"{machine['cpu']}{virtual}, {machine['cores']} cores, {', '.join(machine['instruction_sets'])}; {versions}."


def graphs() -> str:
    """The table of graph variants, a column for each shape."""
    reports = _reports("graphs-*.json")
    rows = []
    for name in reports[0]["seconds"]:
        cells = [name]
        for report in reports:
            seconds = report["seconds"][name]
            spread = (max(seconds) - min(seconds)) / statistics.median(seconds)
            rate = report["rows"] / statistics.median(seconds)
            ratio = statistics.median(next(iter(report["seconds"].values()))) / statistics.median(seconds)
            cells.append(f"{rate:,.0f} ({ratio:.2f}), spread {spread:.0%}")
        rows.append(cells)
    shares = []
    for report in reports:
        pairs = zip(report["seconds"][BARE], report["seconds"][OURS], strict=True)
        each = [bare / ours for bare, ours in pairs]
        shares.append(f"{statistics.median(each):.0%} ({min(each):.0%} to {max(each):.0%})")
    rows.append(["**share of the bare rate that int8 with fixed scales reaches**", *shares])
    about = [f"{report['shape']}: {_machine(report['machine'])}" for report in reports]
    header = ["rows/s (ratio to the first), spread of the rounds", *(report["shape"] for report in reports)]
    operators = sorted(
        {name for report in reports for name in report["operators"]},
        key=lambda name: -sum(report["operators"].get(name, 0) for report in reports),
    )[:12]
    profile = [[name, *(f"{report['operators'].get(name, 0):.1%}" for report in reports)] for name in operators]
    shares_of = ["where int8 with fixed scales spends its time", *(report["shape"] for report in reports)]
    return "\n\n".join([_table(header, rows), _table(shares_of, profile), "\n".join(about)])


def engines() -> str:
    """A table for each shape and kind of texts, fastest engine first."""
    parts = []
    for report in sorted(_reports("engines-*.json"), key=_place):
        texts = report["texts"]
        rows = []
        for entry in sorted(report["candidates"], key=lambda entry: -entry["rows_per_second"]["median"]):
            rate, ratio = entry["rows_per_second"], entry["ratio"]
            name = entry["name"]
            rows.append(
                [
                    f"**{name}**" if name.startswith("toxonnx") else name,
                    f"{rate['median']:,.0f} ({rate['min']:,.0f} to {rate['max']:,.0f})",
                    f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})",
                    f"{entry['peak_memory_mb']:,.0f}",
                    f"{entry['agreement']['same_label_as_pytorch']:.2%}",
                ]
            )  # fmt: skip
        header = [
            "engine", "rows/s (slowest and fastest round)", "toxonnx int8 is so many times as fast",
            "peak MB", "PyTorch's label",
        ]  # fmt: skip
        if report["weights"] == "random":  # decisions of random weights say nothing
            header.pop()
            rows = [row[:-1] for row in rows]
        parts.append(
            f"### {SHAPES[report['shape']]}, {TEXTS[texts['from']]}\n\n{texts['rows']} rows, {texts['tokens_mean']} "
            f"tokens on average, {report['weights']} weights, {report['rounds']} rounds. {_machine(report['machine'])}"
            f"\n\n{_table(header, rows)}"
        )
    return "\n\n".join(parts)


def headline() -> str:
    """What a newcomer wants to know: one engine a line, tweets, both shapes."""
    reports = [
        report for report in sorted(_reports("engines-*.json"), key=_place) if report["texts"]["from"] == "tweets"
    ]
    wanted = [
        ("toxonnx int8", "toxonnx int8"),
        ("toxonnx fp32", "toxonnx fp32"),
        ("transformers pipeline, file order, 32", "transformers pipeline (PyTorch), as its documentation writes it"),
        ("PyTorch fp32, sorted, 32", "PyTorch, sorted by length"),
        ("Optimum + ONNX Runtime int8, file order, 32", "Optimum + ONNX Runtime int8, in the file's order"),
        ("OpenVINO int8, file order, 32", "OpenVINO int8, in the file's order"),
        ("CTranslate2 int8, file order, 32", "CTranslate2 int8, in the file's order"),
    ]
    others = {entry["name"] for entry in reports[0]["candidates"]} - {"toxonnx int8", "toxonnx fp32"}
    rows = []
    for name, title in wanted:
        rates = []
        for report in reports:
            by_name = {entry["name"]: entry for entry in report["candidates"]}
            rates.append(f"{by_name[name]['rows_per_second']['median']:,.0f}")
        rows.append([title, *rates])
    best = []
    for report in reports:
        top = max(
            (entry for entry in report["candidates"] if entry["name"] in others),
            key=lambda entry: entry["rows_per_second"]["median"],
        )
        best.append(f"{top['rows_per_second']['median']:,.0f} ({top['name']})")
    rows.append(["the fastest other engine of all, sorted", *best])
    header = ["rows/s on 768 tweets", *(SHAPES[report["shape"]] for report in reports)]
    return "\n\n".join([_table(header, rows), _slower(), _machine(reports[0]["machine"])])


def _slower() -> str:
    """Where another engine was faster than toxonnx int8."""
    found = []
    for report in sorted(_reports("engines-*.json"), key=_place):
        where = f"{SHAPES[report['shape']]}, {TEXTS[report['texts']['from']]}"
        for entry in report["candidates"]:
            if entry["ratio"]["median"] < 1:
                found.append(f"{entry['name']} ({where}: toxonnx is {entry['ratio']['median']:.2f} times as fast)")
    return f"Faster than toxonnx int8: {'; '.join(found) or 'no engine that was raced'}."


def splits() -> str:
    """What the same recipe scores on a random split, with identical texts together, and with one query together."""
    parts = []
    for path in sorted((HERE / "results").glob("splits-*.json")):
        runs = json.loads(path.read_text(encoding="utf-8"))["rows"]
        rows = []
        for run in runs:
            kept = f"identical texts and the same {' and '.join(run['group'])}" if run["group"] else "identical texts"
            what = "random, row by row" if run["method"] == "random" else f"{kept} together"
            metrics = [f"{run[who]['macro_f1']:.3f}" for who in ("model", "tfidf", "majority")]
            rows.append([what, f"{run['held_out']}", f"{run['leaking']}", *metrics, f"{run['model']['accuracy']:.3f}"])
        first = runs[0]
        header = [
            "split", "held-out rows", "of these in the training set", "MiniLM, LoRA: macro F1", "counting words",
            "most frequent class", "MiniLM: accuracy",
        ]  # fmt: skip
        versions = ", ".join(f"{name} {version}" for name, version in first["versions"].items())
        epochs = " / ".join(str(run["epochs"]) for run in runs)
        about = (
            f"{first['data']['file']}, {first['data']['rows']:,} rows; {first['base']}, LoRA on query and value, "
            f"learning rate {first['learning_rate']:g}, {epochs} epochs, the best kept; "
            f"seed {first['seed']}; {versions}."
        )
        parts.append(_table(header, rows) + "\n\n" + about)
    return "\n\n".join(parts)


def _between(rate: dict[str, float]) -> str:
    return f"{rate['median']:,.0f} ({rate['min']:,.0f} to {rate['max']:,.0f})"


def host() -> str:
    """What a machine does beside its GPU: tokenizing by itself, and CSV to CSV with a model that answers at once."""
    parts = []
    for report in _reports("host-*.json"):
        rows = []
        for processes, one in report["host"].items():
            own = one["microseconds_of_the_main_process_a_row"]
            most = f"{round(1e6 / own['median'], -3):,.0f}" if processes != "0" else ""
            rows.append(
                [
                    "none: the tokenizer's threads, in the main process" if processes == "0" else processes,
                    _between(report["tokenizer"][processes]), _between(one["rows_per_second"]),
                    f"{own['median']:.1f} ({own['min']:.1f} to {own['max']:.1f})", most,
                ]
            )  # fmt: skip
        header = [
            "processes that tokenize", "normalising and tokenizing alone, rows/s", "CSV to CSV without a model, rows/s",
            "main process, microseconds a row", "so at most, with more cores, rows/s",
        ]  # fmt: skip
        count = next(iter(report["host"].values()))["rows"]
        parts.append(
            _table(header, rows)
            + f"\n\n{count:,} made-up rows, {report['rounds']} rounds by turns. {_machine(report['machine'])}"
        )
    return "\n\n".join(parts)


def quality() -> str:
    """What the shipped model gets right: on its test rows, beside counting words, and on HateCheck."""
    manifest = json.loads(SHIPPED.read_text(encoding="utf-8"))
    evaluation, decisions = manifest["evaluation"], manifest["decisions"]
    model = evaluation["models"][0]["unseen"]
    words = manifest["training"]["baselines"]["test"]["tfidf"]

    def cell(key: str, value: float) -> str:
        low, high = model["intervals"][key]
        return f"{value:.3f} ({low:.3f} to {high:.3f})"

    rows = [
        [title, cell(key, model["metrics"][key]), f"{words[key]:.3f}"]
        for key, title in (("accuracy", "accuracy"), ("macro_f1", "macro F1"))
    ]
    for label, one in model["metrics"]["per_class"].items():
        rows.append([f"F1 {label}, {one['support']:,} rows", cell(f"per_class/{label}/f1", one["f1"]), ""])
    low, high = model["chance_ece"]
    rows.append(
        [
            f"calibration error (without its temperature {decisions['before']['ece']:.3f})",
            f"{decisions['after']['ece']:.3f} (by chance alone {low:.3f} to {high:.3f})", "",
        ]
    )  # fmt: skip
    header = [f"{model['rows']:,} test rows", "minilm-hate-int8", "TF-IDF baseline"]
    suite = evaluation["suite"]
    readings = suite["models"]
    taken = [", ".join(one["positive_labels"]) for one in readings]
    found = [
        [f"{title}, {readings[0][side]['cases']:,} cases", *(f"{one[side]['accuracy']:.1%}" for one in readings)]
        for side, title in (("positive", suite["positive"]), ("negative", suite["negative"]), ("all", "all"))
    ]
    kinds = [
        [f"{one['code']} {one['description']} ({suite['positive' if one['positive'] else 'negative']})"]
        + [f"{reading['functionalities'][at]['accuracy']:.0%}" for reading in readings]
        for at, one in enumerate(readings[0]["functionalities"])
    ]
    columns = [f"taken for {suite['positive']}: {one}" for one in taken]
    return "\n\n".join(
        [
            _table(header, rows),
            _table([f"{suite['title']}, right answers", *columns], found),
            f"<details><summary>{suite['title']} by functionality</summary>",
            _table(["functionality", *columns], kinds),
            "</details>",
        ]
    )


def speed_summary() -> str:
    """Four rows of :func:`headline`, for README.md: toxonnx int8, the pipeline, Optimum, the fastest other engine."""
    header, rule, *rows = headline().split("\n\n")[0].splitlines()
    table = "\n".join([header, rule, rows[0], rows[2], rows[4], rows[-1]])
    machine = _reports("engines-*.json")[0]["machine"]
    cores = f"{machine['cores']} cores of {machine['cpu']}{' (virtual machine)' if machine['virtual'] else ''}"
    vnni = [name for name in machine["instruction_sets"] if name.endswith("vnni")]
    return f"{table}\n\nOn {cores}{f' with {vnni[-1]}' if vnni else ''}. {_slower_range()}"


def _slower_range() -> str:
    """Where another engine was faster than toxonnx int8, in one sentence."""
    ratios: dict[str, list[float]] = {}
    for report in sorted(_reports("engines-*.json"), key=_place):
        where = f"{SHAPES[report['shape']]}, {TEXTS[report['texts']['from']]}"
        for entry in report["candidates"]:
            if entry["ratio"]["median"] < 1:
                engine = entry["name"].split(",")[0]
                ratios.setdefault(f"{engine} ({where})", []).append(entry["ratio"]["median"])
    faster = [
        f"{name}, where toxonnx has {min(each):.2f} to {max(each):.2f} of its speed" for name, each in ratios.items()
    ]
    return f"Faster than toxonnx int8: {'; '.join(faster) or 'no engine that was measured'}."


def quality_summary() -> str:
    """Accuracy, macro F1, the weakest class, and HateCheck as a whole, for README.md."""
    manifest = json.loads(SHIPPED.read_text(encoding="utf-8"))
    model = manifest["evaluation"]["models"][0]["unseen"]
    tfidf = manifest["training"]["baselines"]["test"]["tfidf"]
    metrics, intervals = model["metrics"], model["intervals"]

    def cell(key: str, value: float) -> str:
        low, high = intervals[key]
        return f"{value:.3f} ({low:.3f} to {high:.3f})"

    weakest = min(metrics["per_class"], key=lambda name: metrics["per_class"][name]["f1"])
    worst = metrics["per_class"][weakest]
    suite = manifest["evaluation"]["suite"]
    strict = suite["models"][0]
    hatecheck = [f"{strict[side]['accuracy']:.1%} of {strict[side]['cases']:,}" for side in ("positive", "negative")]
    positive = " or ".join(strict["positive_labels"])
    rows = [
        ["accuracy", cell("accuracy", metrics["accuracy"]), f"{tfidf['accuracy']:.3f}"],
        ["macro F1", cell("macro_f1", metrics["macro_f1"]), f"{tfidf['macro_f1']:.3f}"],
        [f"F1 {weakest}, {worst['support']:,} rows", cell(f"per_class/{weakest}/f1", worst["f1"]), ""],
        [f"{suite['title']}: {suite['positive']} cases predicted {positive}", hatecheck[0], ""],
        [f"{suite['title']}: {suite['negative']} cases not predicted {positive}", hatecheck[1], ""],
    ]
    return _table([f"{model['rows']:,} test rows (95% interval)", manifest["name"], "TF-IDF baseline"], rows)


def _place(report: dict[str, Any]) -> tuple[int, int]:
    return list(SHAPES).index(report["shape"]), list(TEXTS).index(report["texts"]["from"])


def main() -> int:
    """Writes or checks."""
    wrong = 0
    pages = {
        HERE / "README.md": {"graphs": graphs, "engines": engines, "splits": splits, "host": host},
        HERE.parent / "docs" / "benchmarks.md": {"speed": headline},
        HERE.parent / "docs" / "evaluation.md": {"quality": quality},
        HERE.parent / "README.md": {"speed-summary": speed_summary, "quality-summary": quality_summary},
    }
    for page, parts in pages.items():
        text = new = page.read_text(encoding="utf-8")
        for name, make in parts.items():
            start, end = f"<!-- {name}: written by benchmarks/tables.py -->", f"<!-- end of {name} -->"
            made = f"{start}\n\n{make()}\n\n{end}"
            new, count = re.subn(
                re.escape(start) + ".*?" + re.escape(end), lambda _, made=made: made, new, flags=re.DOTALL
            )
            assert count == 1, f"{page}: no place for {name}"
        wrong += new != text
        if "--check" not in sys.argv:
            page.write_text(new, encoding="utf-8")
    return int("--check" in sys.argv and wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
