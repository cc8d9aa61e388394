"""Writes the generated tables of benchmarks/README.md, docs/ and README.md.

They come from the committed results and from the manifest of the bundle that ships.

    python benchmarks/tables.py            # writes
    python benchmarks/tables.py --check    # exit code 1 if a page is out of date
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from accuracy_tables import cascade, defaults, sources, splits
from files_tables import files
from markdown_tables import describe_machine, markdown_table, read_reports, with_range
from plan_tables import plan
from serving_tables import serving

from toxonnx.resources import find_bundle

HERE = Path(__file__).parent
SHAPES = {"distilbert": "DistilBERT, 9 labels", "minilm": "MiniLM, 3 labels"}
TEXTS = {"tweets": "tweets", "short": "short texts (HateCheck)", "long": "long texts"}
SHIPPED = find_bundle(None) / "toxonnx.json"
TOXICITY = HERE / "results" / "toxicity.json"
MATMUL_ONLY = "MatMulInteger only, batches of one length"
STATIC_INT8 = "int8, static scales, batches of one length"
#: candidate -> its title in tables of the engines as they are commonly used
COMMON_ENGINES = {
    "toxonnx int8": "toxonnx int8",
    "toxonnx fp32": "toxonnx fp32",
    "transformers pipeline, file order, batch 32": "transformers pipeline (PyTorch), called as in its documentation",
    "PyTorch fp32, sorted, batch 32": "PyTorch, sorted by length",
    "Optimum + ONNX Runtime int8, file order, batch 32": "Optimum + ONNX Runtime int8, in file order",
    "OpenVINO int8, file order, batch 32": "OpenVINO int8, in file order",
    "CTranslate2 int8, file order, batch 32": "CTranslate2 int8, in file order",
}
SUMMARY_ENGINES = [
    "toxonnx int8", "transformers pipeline, file order, batch 32", "Optimum + ONNX Runtime int8, file order, batch 32",
]  # fmt: skip
#: operators in the table of a profile
OPERATORS = 12


def _engine_reports() -> list[dict[str, Any]]:
    """In the order of SHAPES, then TEXTS."""
    return sorted(
        read_reports("engines-*.json"),
        key=lambda report: (list(SHAPES).index(report["shape"]), list(TEXTS).index(report["texts"]["source"])),
    )


def graphs() -> str:
    """Graph variants and the profile of the int8 graph, one column per shape."""
    reports = read_reports("graphs-*.json")
    shapes = [report["shape"] for report in reports]
    rows = []
    for name in reports[0]["seconds"]:
        cells = [name]
        for report in reports:
            seconds = report["seconds"][name]
            median = statistics.median(seconds)
            ratio = statistics.median(next(iter(report["seconds"].values()))) / median
            spread = (max(seconds) - min(seconds)) / median
            cells.append(f"{report['rows'] / median:,.0f} ({ratio:.2f}), spread {spread:.0%}")
        rows.append(cells)
    shares = []
    for report in reports:
        pairs = zip(report["seconds"][MATMUL_ONLY], report["seconds"][STATIC_INT8], strict=True)
        ratios = [matmul / static for matmul, static in pairs]
        shares.append(f"{statistics.median(ratios):.0%} ({min(ratios):.0%} to {max(ratios):.0%})")
    rows.append(["**int8 with static scales, as a share of the MatMulInteger-only rate**", *shares])
    operators = sorted(
        {name for report in reports for name in report["operators"]},
        key=lambda name: -sum(report["operators"].get(name, 0) for report in reports),
    )[:OPERATORS]
    profile = [[name, *(f"{report['operators'].get(name, 0):.1%}" for report in reports)] for name in operators]
    machines = [f"{report['shape']}: {describe_machine(report['machine'])}" for report in reports]
    return "\n\n".join(
        [
            markdown_table(["rows/s (ratio to the first row), spread of the rounds", *shapes], rows),
            markdown_table(["share of time per operator, int8 with static scales", *shapes], profile),
            "\n".join(machines),
        ]
    )


def variants() -> str:
    """The steps from fp32 to int8, and the limit, for docs/speed.md."""
    reports = read_reports("graphs-*.json")
    steps = [
        "fp32, full last layer, one row per call", "fp32, first token only, one row per call",
        "fp32, first token only, batches of one length", STATIC_INT8, MATMUL_ONLY,
    ]  # fmt: skip
    rates = {
        name: [report["rows"] / statistics.median(report["seconds"][name]) for report in reports] for name in steps
    }
    rows = [
        [name, *(f"{rate:,.0f} ({rate / first:.1f})" for rate, first in zip(rates[name], rates[steps[0]], strict=True))]
        for name in steps
    ]
    return markdown_table(["rows/s without tokenizing (ratio to the first row)", *(r["shape"] for r in reports)], rows)


def engines() -> str:
    """A table for each shape and kind of texts, fastest engine first."""
    parts = []
    for report in _engine_reports():
        texts = report["texts"]
        rows = []
        for entry in sorted(report["candidates"], key=lambda entry: -entry["rows_per_second"]["median"]):
            name = entry["name"]
            rows.append(
                [
                    f"**{name}**" if name.startswith("toxonnx") else name, with_range(entry["rows_per_second"]),
                    with_range(entry["speedup"], 2), f"{entry['peak_memory_mb']:,.0f}",
                    f"{entry['agreement']['same_label_as_pytorch']:.2%}",
                ]
            )  # fmt: skip
        header = [
            "engine", "rows/s (slowest to fastest round)", "speedup of toxonnx int8", "peak memory, MB",
            "same label as PyTorch",
        ]  # fmt: skip
        if report["weights"] == "random":  # labels of random weights mean nothing
            header.pop()
            rows = [row[:-1] for row in rows]
        parts.append(
            f"### {SHAPES[report['shape']]}, {TEXTS[texts['source']]}\n\n{texts['rows']} rows, {texts['tokens_mean']} "
            f"tokens on average, {report['weights']} weights, {report['rounds']} rounds. "
            f"{describe_machine(report['machine'])}\n\n{markdown_table(header, rows)}"
        )
    return "\n\n".join(parts)


def speed() -> str:
    """Engines as they are commonly used, on tweets, one column per shape."""
    return "\n\n".join(
        [_speed_table(list(COMMON_ENGINES)), _faster_engines(), describe_machine(_engine_reports()[0]["machine"])]
    )


def speed_summary() -> str:
    """The main rows of :func:`speed`, for README.md."""
    machine = _engine_reports()[0]["machine"]
    cores = f"{machine['cores']} cores of {machine['cpu']}{' (virtual machine)' if machine['virtual'] else ''}"
    vnni = [name for name in machine["instruction_sets"] if name.endswith("vnni")]
    where = f"On {cores}{f' with {vnni[-1]}' if vnni else ''}."
    return f"{_speed_table(SUMMARY_ENGINES)}\n\n{where} {_faster_engines_summary()}"


def _speed_table(engines: list[str]) -> str:
    reports = [report for report in _engine_reports() if report["texts"]["source"] == "tweets"]
    rows = []
    for name in engines:
        rates = [
            entry["rows_per_second"]["median"]
            for report in reports
            for entry in report["candidates"]
            if entry["name"] == name
        ]
        rows.append([COMMON_ENGINES[name], *(f"{rate:,.0f}" for rate in rates)])
    best = []
    for report in reports:
        others = (entry for entry in report["candidates"] if not entry["name"].startswith("toxonnx"))
        fastest = max(others, key=lambda entry: entry["rows_per_second"]["median"])
        best.append(f"{fastest['rows_per_second']['median']:,.0f} ({fastest['name']})")
    rows.append(["the fastest other engine", *best])
    return markdown_table(["rows/s on 768 tweets", *(SHAPES[report["shape"]] for report in reports)], rows)


def _faster() -> list[tuple[str, str, float]]:
    """Where another engine was faster than toxonnx int8: its name, the shape and texts, the speedup of toxonnx."""
    return [
        (entry["name"], f"{SHAPES[report['shape']]}, {TEXTS[report['texts']['source']]}", entry["speedup"]["median"])
        for report in _engine_reports()
        for entry in report["candidates"]
        if entry["speedup"]["median"] < 1
    ]


def _faster_engines() -> str:
    faster = [f"{name} ({where}: toxonnx int8 is {speedup:.2f} times as fast)" for name, where, speedup in _faster()]
    return f"Faster than toxonnx int8: {'; '.join(faster) or 'none of the engines measured'}."


def _faster_engines_summary() -> str:
    """One entry per engine, for all of its batch sizes and orders."""
    speedups: dict[str, list[float]] = {}
    for name, where, speedup in _faster():
        speedups.setdefault(f"{name.split(',')[0]} ({where})", []).append(speedup)
    faster = [
        f"{name}, where toxonnx int8 is {min(values):.2f} to {max(values):.2f} times as fast"
        for name, values in speedups.items()
    ]
    return f"Faster than toxonnx int8: {'; '.join(faster) or 'none of the engines measured'}."


def host() -> str:
    """The CPU's share of the work with a GPU: tokenization, and CSV to CSV without a model."""
    parts = []
    for report in read_reports("host-*.json"):
        rows = []
        for processes, result in report["host"].items():
            main = result["main_process_microseconds_per_row"]
            limit = f"{round(1e6 / main['median'], -3):,.0f}" if processes != "0" else ""
            rows.append(
                [
                    "none: threads of the main process" if processes == "0" else processes,
                    with_range(report["tokenizer"][processes]), with_range(result["rows_per_second"]),
                    with_range(main, 1), limit,
                ]
            )  # fmt: skip
        header = [
            "tokenizer processes", "normalization and tokenization only, rows/s", "CSV to CSV without a model, rows/s",
            "main process, microseconds per row", "upper limit with more cores, rows/s",
        ]  # fmt: skip
        count = next(iter(report["host"].values()))["rows"]
        setup = (
            f"{count:,} synthetic rows, {report['rounds']} interleaved rounds. {describe_machine(report['machine'])}"
        )
        parts.append(f"{markdown_table(header, rows)}\n\n{setup}")
    return "\n\n".join(parts)


def quality() -> str:
    """The shipped model on its test rows, on sets that people judged, and on HateCheck."""
    manifest = json.loads(SHIPPED.read_text(encoding="utf-8"))
    return "\n\n".join([_labels(manifest), _judged_sets(), _suite(manifest["evaluation"]["suite"])])


def quality_summary() -> str:
    """Macro F1 on the test rows, toxicity of comments from many platforms, and HateCheck as a whole, for README.md."""
    manifest = json.loads(SHIPPED.read_text(encoding="utf-8"))
    model, baseline = manifest["evaluation"]["models"][0]["unseen"], manifest["training"]["baselines"]["test"]["tfidf"]
    measured = json.loads(TOXICITY.read_text(encoding="utf-8"))["models"][manifest["name"]]
    suite = manifest["evaluation"]["suite"]
    strict = suite["models"][0]
    positive = " or ".join(strict["positive_labels"])
    rates = [f"{strict[part]['accuracy']:.1%} of {strict[part]['cases']:,}" for part in ("positive", "negative")]
    surge, moderation = measured["surge"]["toxicity"], measured["openai_mod"]["any"]
    rows = [
        [f"macro F1, {model['rows']:,} test rows", _interval(model, "macro_f1", model["metrics"]["macro_f1"])],
        ["the same, TF-IDF fitted on the rows of the last training", f"{baseline['macro_f1']:.3f}"],
        [f"ROC-AUC of toxicity, {surge['rows']:,} comments of other platforms", f"{surge['auc']:.3f}"],
        [f"ROC-AUC of any label, {moderation['rows']:,} prompts and posts", f"{moderation['auc']:.3f}"],
        [f"{suite['title']}: {suite['positive']} cases predicted `{positive}`", rates[0]],
        [f"{suite['title']}: {suite['negative']} cases not predicted `{positive}`", rates[1]],
    ]
    return markdown_table(["measure (95% interval)", manifest["name"]], rows)


def _interval(model: dict[str, Any], key: str, value: float) -> str:
    low, high = model["intervals"][key]
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def _labels(manifest: dict[str, Any]) -> str:
    """Metrics of each label on the rows for which it was judged."""
    model = manifest["evaluation"]["models"][0]["unseen"]
    metrics, baseline = model["metrics"], manifest["training"]["baselines"]["test"]["tfidf"]
    rows = [
        [
            label, f"{one['known']:,}", f"{one['support']:,}", _interval(model, f"per_class/{label}/f1", one["f1"]),
            _interval(model, f"per_class/{label}/roc_auc", one["roc_auc"]), f"{one['ece']:.3f}",
        ]
        for label, one in metrics["per_class"].items()
    ]  # fmt: skip
    header = ["label", "judged test rows", "with the label", "F1 (95% interval)", "ROC-AUC (95% interval)", "ECE"]
    table = markdown_table(header, rows)
    macro = _interval(model, "macro_f1", metrics["macro_f1"])
    tfidf = f"TF-IDF with logistic regression, fitted on the rows of the last training: {baseline['macro_f1']:.3f}"
    return f"{table}\n\nMacro F1 {macro}; {tfidf}."


#: key of benchmarks/toxicity/evaluate.py -> what people judged there
JUDGED = {
    ("surge", "toxicity"): "toxicity of comments from many platforms",
    ("openai_mod", "sexual"): "sexual, in prompts and posts",
    ("openai_mod", "identity_attack"): "identity attacks, in prompts and posts",
    ("openai_mod", "any"): "anything undesired, in prompts and posts",
    ("davidson", "toxicity"): "hateful or offensive tweets against others",
}


def _judged_sets() -> str:
    """Sets on which no model was trained, or rows that it has not seen, with the thresholds of each bundle."""
    models = json.loads(TOXICITY.read_text(encoding="utf-8"))["models"]
    rows = []
    for (data, key), title in JUDGED.items():
        found = {name: measured[data].get(key) for name, measured in models.items()}
        counts = " / ".join(dict.fromkeys(f"{one['rows']:,}" for one in found.values() if one))
        rows.append([title, counts, *(_auc_and_accuracy(one) for one in found.values())])
    return markdown_table(["judged by people: ROC-AUC, accuracy, macro F1", "rows", *models], rows)


def _auc_and_accuracy(one: dict[str, float] | None) -> str:
    return f"{one['auc']:.3f}, {one['accuracy']:.1%}, {one['macro_f1']:.3f}" if one else "no such label"


def _suite(suite: dict[str, Any]) -> str:
    models = suite["models"]
    columns = [f"counted as {suite['positive']}: {', '.join(model['positive_labels'])}" for model in models]
    totals = [
        [f"{title}, {models[0][part]['cases']:,} cases", *(f"{model[part]['accuracy']:.1%}" for model in models)]
        for part, title in (("positive", suite["positive"]), ("negative", suite["negative"]), ("all", "all"))
    ]
    functionalities = [
        [
            f"{first['code']} {first['description']} ({suite['positive' if first['positive'] else 'negative']})",
            *(f"{model['functionalities'][position]['accuracy']:.0%}" for model in models),
        ]
        for position, first in enumerate(models[0]["functionalities"])
    ]
    return "\n\n".join(
        [
            markdown_table([f"{suite['title']}, accuracy", *columns], totals),
            f"<details><summary>{suite['title']} by functionality</summary>",
            markdown_table(["functionality", *columns], functionalities),
            "</details>",
        ]
    )


PAGES = {
    HERE / "README.md": {
        "graphs": graphs, "files": files, "serving": serving, "engines": engines, "splits": splits, "host": host,
        "defaults": defaults, "sources": sources,
    },
    HERE.parent / "docs" / "benchmarks.md": {"speed": speed},
    HERE.parent / "docs" / "cascade.md": {"cascade": cascade},
    HERE.parent / "docs" / "comparison.md": {"speed-summary": speed_summary},
    HERE.parent / "docs" / "speed.md": {"speed-summary": speed_summary, "variants": variants},
    HERE.parent / "docs" / "splits.md": {"splits": splits},
    HERE.parent / "docs" / "evaluation.md": {"quality": quality},
    HERE.parent / "docs" / "many-machines.md": {"plan": plan},
    HERE.parent / "README.md": {"speed-summary": speed_summary, "quality-summary": quality_summary},
}  # fmt: skip


def main() -> int:
    """Writes or checks."""
    check, outdated = "--check" in sys.argv, []
    for page, parts in PAGES.items():
        text = new = page.read_text(encoding="utf-8")
        for name, make in parts.items():
            start, end = f"<!-- {name}: written by benchmarks/tables.py -->", f"<!-- end of {name} -->"
            before, opened, rest = new.partition(start)
            _, closed, after = rest.partition(end)
            if not opened or not closed:
                sys.exit(f"{page}: the markers of {name} are missing")
            new = f"{before}{start}\n\n{make()}\n\n{end}{after}"
        if new != text:
            outdated.append(page)
            if not check:
                page.write_text(new, encoding="utf-8")
    for page in outdated if check else []:
        print(f"{page} is out of date", file=sys.stderr)
    return int(check and bool(outdated))


if __name__ == "__main__":
    sys.exit(main())
