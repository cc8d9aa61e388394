"""Writes the logits of a teacher for the texts of a file, so that a student can be trained without the teacher.

    python benchmarks/toxicity/logits.py extended.csv --teacher mpnet-toxicity-int8 \\
        --label sexual=fourth/minilm-toxicity-int8 -o logits.safetensors

The file is what ``extend.py`` wrote; each text of its column ``teacher_text`` is scored once. ``--label`` takes the
logits of a label from another model, where that one is better at it. Both are bundles, runs or checkpoints with the
same labels. Logits are kept in ``~/.cache/toxonnx/teachers``, those in bf16, too. The result has hashes and float16
numbers, no text; a recipe names it as ``teacher.models``.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import torch

from toxonnx.labels import Labels
from toxonnx.texts import TextSpec
from toxonnx.train.teacher import save_logits, score_with_teacher

LABELS = Labels(("toxicity", "identity_attack", "insult", "profanity", "sexual"), "sigmoid")
#: text.normalise of the recipe
NORMALISE = ("html", "urls", "mentions", "spaces")


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="CSV file with the column teacher_text")
    parser.add_argument("--teacher", required=True, help="bundle, run or checkpoint")
    parser.add_argument("--label", action="append", default=[], metavar="LABEL=MODEL", help="another model for a label")
    parser.add_argument(
        "--bf16", action="store_true", help="score runs and checkpoints in bf16, which some CPUs do faster"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="file that ends with .safetensors")
    arguments = parser.parse_args()
    clean = TextSpec(normalise=NORMALISE).clean
    with arguments.data.open(encoding="utf-8", newline="") as file:
        texts = sorted({clean(row["teacher_text"]) for row in csv.DictReader(file)} - {""})
    with torch.autocast("cpu", torch.bfloat16, enabled=arguments.bf16):
        logits = _score(arguments.teacher, texts)
        for label, _, model in (choice.partition("=") for choice in arguments.label):
            column = LABELS.names.index(label)
            logits[:, column] = _score(model, texts)[:, column]
    save_logits(arguments.output, texts, logits.astype(np.float16), LABELS)
    print(f"wrote {arguments.output}: {len(texts):,} texts")


def _score(model: str, texts: list[str]) -> np.ndarray:
    def report(share: float | None, note: str) -> None:
        print(f"{model}: {note}", flush=True)

    return score_with_teacher([model], texts, LABELS, report).logits


if __name__ == "__main__":
    main()
