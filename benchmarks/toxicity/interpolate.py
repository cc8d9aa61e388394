"""Measures a model between the weights that a training started from and those that it ended with.

    python benchmarks/toxicity/interpolate.py BASE RUN --shares 0 0.5 0.75 1 --validation validation.csv varied.csv

prints the ROC-AUC of toxicity and identity attacks for each share of the trained weights, on the rows of people and on
each kind of variants, to choose ``training.interpolation`` from. BASE is the checkpoint that the run started from. The
files are ``validation.csv`` of ``continue_from.py`` and what ``vary.py`` makes of it, whose texts no training has seen.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from toxonnx.train.adapters import load_trained
from toxonnx.train.torch_scorer import TorchScorer

LABELS = ("toxicity", "identity_attack")


def main() -> None:
    """Prints a line for each share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="run or checkpoint that the training started from")
    parser.add_argument("run", help="run without interpolation")
    parser.add_argument("--shares", nargs="+", type=float, required=True, help="shares of the trained weights")
    parser.add_argument("--validation", nargs="+", type=Path, required=True, help="CSV files")
    arguments = parser.parse_args()
    rows: dict[str, dict[str, str]] = {}
    for path in arguments.validation:
        with path.open(encoding="utf-8", newline="") as file:
            rows = {row["text"]: row for row in csv.DictReader(file)} | rows
    kinds = np.array([row["source"] if row["source"].startswith("variant-") else "rows" for row in rows.values()])
    start, trained = load_trained(arguments.base), load_trained(arguments.run)
    weights = [(weight, weight.detach().clone()) for _, weight in sorted(trained.model.named_parameters())]
    origin = [weight.detach() for _, weight in sorted(start.model.named_parameters())]
    for share in arguments.shares:
        with torch.no_grad():
            for (weight, end), begin in zip(weights, origin, strict=True):
                weight.copy_(torch.lerp(begin, end, share))
        logits = TorchScorer(trained).score(list(rows)).probabilities
        cells = []
        for kind in sorted(set(kinds)):
            for label in LABELS:
                truth = np.array([row[label] for row in rows.values()])
                known = (kinds == kind) & (truth != "")
                if len(set(truth[known])) == 2:
                    auc = roc_auc_score(truth[known] == "1", logits[known, trained.labels.names.index(label)])
                    cells.append(f"{kind} {label} {auc:.4f} ({known.sum():,})")
        print(f"{share:g}: {', '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
