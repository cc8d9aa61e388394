"""What a first stage gains: rows that it answers, decisions that stay the same, and speed.

    python benchmarks/cascade.py --data FOLDER --work scratch --json benchmarks/results/cascade-minilm-toxicity.json

``--data`` is a folder with davidson-2017.csv and hatecheck.csv. For each agreement, ``toxonnx fit-cascade`` fits and
tests a first stage for a bundle (``--bundle``; by default the included one) on the tweets, without the last ``--rows``
ones, on which the decisions are compared and the speed is measured. The decisions are also compared on HateCheck, whose
texts differ from tweets. ``--checkpoint`` is the PyTorch model of the bundle and adds the transformers pipeline;
``--peers``, the interpreter of an environment with ``requirements.txt``, adds OpenVINO int8 with sorted batches of 8.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from toxonnx.bench.report import summarize
from toxonnx.bench.run import Candidate, run_benchmark
from toxonnx.bundle import open_bundle
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.options import RuntimeOptions
from toxonnx.resources import find_bundle
from toxonnx.system import available_cores, describe_system
from toxonnx.texts import fold

TWEETS, SUITE = ("davidson-2017.csv", "tweet"), ("hatecheck.csv", "test_case")
FULL, PIPELINE, OPENVINO = "full model", "transformers pipeline", "OpenVINO int8, sorted, batch 8"
HERE = Path(__file__).absolute().parent


def read_texts(folder: Path, file: str, column: str) -> list[str]:
    """Different texts, in the order of the file."""
    with open(folder / file, encoding="utf-8", newline="") as stream:
        return list({fold(row[column]): row[column] for row in csv.DictReader(stream)}.values())


def fit(bundle: Path, agreement: str, texts: Path, work: Path) -> Path | None:
    """The bundle with a first stage; None if it cannot keep the promise."""
    output = work / agreement
    done = subprocess.run(
        [
            sys.executable, "-m", "toxonnx", "fit-cascade", texts, "--text-column", "text", "--bundle",
            bundle, "--agreement", agreement, "-o", output, "--force",
        ],
    )  # fmt: skip
    if done.returncode not in (0, 1):
        raise SystemExit(f"fit-cascade ended with {done.returncode}")
    return output if done.returncode == 0 else None


def compare(bundle: Path, texts: list[str]) -> dict[str, int]:
    """Texts that the first stage answers, and how many it decides otherwise than the full model."""
    opened = open_bundle(bundle)
    scores = Classifier(opened).score(texts)
    full = Classifier(opened, RuntimeOptions(cascade=False)).score(texts)
    differ = (scores.decisions != full.decisions).any(axis=1)
    return {"rows": len(texts), "early": int((scores.stage == 1).sum()), "differ": int(differ.sum())}


def main() -> None:
    """Fits, measures and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--bundle")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--peers", help="Python interpreter")
    parser.add_argument("--agreements", nargs="+", default=["0.99", "0.995"], help="as of fit-cascade --agreement")
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    tweets, suite = read_texts(arguments.data, *TWEETS), read_texts(arguments.data, *SUITE)
    texts = tweets[-arguments.rows :]
    file = arguments.work / "tweets.csv"
    with open(file, "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([["text"], *([text] for text in tweets[: -arguments.rows])])
    cores, full, factory = available_cores(), find_bundle(arguments.bundle), "toxonnx.bench.scorers:bundle"
    candidates = [Candidate(FULL, factory, {"model": str(full), "threads": cores}, cores)]
    cascades: list[dict[str, Any]] = []
    for agreement in arguments.agreements:
        bundle = fit(full, agreement, file, arguments.work)
        row: dict[str, Any] = {"agreement": agreement, "name": f"cascade {agreement}"}
        if bundle is not None:
            row["promise"] = open_bundle(bundle).manifest.to_dict()["cascade"]
            row["tweets"], row["suite"] = compare(bundle, texts), compare(bundle, suite)
            options = {"model": str(bundle), "threads": cores, "cascade": True}
            candidates.append(Candidate(row["name"], factory, options, cores))
        cascades.append(row)
    manifest = open_bundle(full).manifest
    if arguments.checkpoint:
        options = {
            "model": str(arguments.checkpoint), "threads": cores, "max_length": manifest.max_length,
            "normalise": list(manifest.text.normalise), "multi": manifest.labels.multi,
        }  # fmt: skip
        candidates.append(Candidate(PIPELINE, "toxonnx.bench.scorers:pipeline", options, cores))
        if arguments.peers:
            options = {
                "model": str(arguments.checkpoint.absolute()), "threads": cores, "max_length": manifest.max_length,
                "cache": str(arguments.work.absolute() / "cache"), "order": "sorted", "batch": 8, "precision": "int8",
                "calibration": tweets[:300],
            }  # fmt: skip
            paths = (str(HERE), str(HERE.parent))
            candidates.append(Candidate(OPENVINO, "peers.openvino:load", options, cores, paths, arguments.peers))
    results = run_benchmark(
        candidates, texts, rounds=arguments.rounds, latency_samples=5, log=lambda line: print(line, flush=True)
    )
    document = {
        "bundle": manifest.name,
        "rows": len(texts),
        "rounds": arguments.rounds,
        "machine": describe_system().to_dict(),
        "cascades": cascades,
        "candidates": [report.to_dict() for report in summarize(candidates, results, manifest.labels)],
    }
    arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
