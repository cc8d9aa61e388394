"""Prepares a training that continues from a released bundle: its weights as a checkpoint, and data it has not seen.

    python benchmarks/toxicity/continue_from.py toxicity.csv --bundle minilm-toxicity-int8 \\
        --base BASE -o continued

writes:

* ``NAME-weights``: the weights of the int8 graph as a PyTorch checkpoint, the base of the recipe, with the fingerprints
  of the texts that the bundle was trained on
* ``validation.csv``, ``test.csv``: rows of groups of near duplicates of which the bundle has seen no text
* ``train.csv``: all other rows, and variants of them whose labels follow from how they are made:

  * ``variant-spelling``: letters swapped, dropped or replaced. Profanity and sexual language are properties of words,
    so these two labels are left open.
  * ``variant-frame``: a text that somebody quotes. Where the sentence around it rejects a hateful text, it is neither
    toxic nor an identity attack, and the other labels are left open. Where it agrees, all labels stay. The same
    sentences stand around harmless texts, so that they say nothing by themselves; a harmless text that names a group is
    never rejected, as that could be hateful.
  * ``variant-group``: a harmless text with another group in it. All labels stay.

The same input and seed give the same output.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import random
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from augment import FRAME_WORDS, GROUPS, group, spelling

from toxonnx.bundle import open_bundle
from toxonnx.data.fingerprints import FINGERPRINT_FILES, is_seen, load_fingerprints

LABELS = ("toxicity", "identity_attack", "insult", "threat", "profanity", "sexual")
REJECTING = (
    'Somebody wrote "{}" and I reported it.', 'It is wrong to say "{}".', 'Why would anyone post "{}"?',
    'My neighbour got a letter that said "{}", which is awful.', '"{}" is something nobody should have to read.',
    'The court fined a man who had shouted "{}".', 'I used to believe this: "{}". I was wrong.',
    'Nobody in this office may say "{}" and keep the job.', 'She left the group after they posted "{}".',
)  # fmt: skip
AGREEING = (
    'He said "{}", and he is right.', 'I agree with this: "{}"', '"{}" is what everybody here thinks, and so do I.',
    'She said "{}", and went home.', 'As my father always says: "{}"', 'They told us "{}" and I believe it.',
)  # fmt: skip
GROUP = re.compile("|".join(rf"\b{word}\b" for words in GROUPS for word in words), re.IGNORECASE)
#: rows of a source that are held out, at most, for each of validation and test
HELD_OUT = 600

Row = dict[str, str]


def divide(rows: list[Row], seen: np.ndarray, rng: random.Random) -> dict[str, list[Row]]:
    """``train``, ``validation`` and ``test``; the last two from groups without a text that the bundle has seen."""
    touched = {row["split_group"] for row, known in zip(rows, seen, strict=True) if known}
    unseen: dict[str, list[Row]] = defaultdict(list)
    totals: dict[str, int] = defaultdict(int)
    for row in rows:
        totals[row["source"]] += 1
        if row["split_group"] not in touched:
            unseen[row["source"]].append(row)
    part_of: dict[str, str] = {}
    for source in sorted(unseen):
        groups = sorted({row["split_group"] for row in unseen[source]} - part_of.keys())
        rng.shuffle(groups)
        sizes = defaultdict(int)
        for row in unseen[source]:
            sizes[row["split_group"]] += 1
        wanted = min(HELD_OUT, totals[source] // 20, len(unseen[source]) // 2)
        for part in ("validation", "test"):
            taken = 0
            while groups and taken < wanted:
                group = groups.pop()
                part_of[group] = part
                taken += sizes[group]
    parts: dict[str, list[Row]] = {"train": [], "validation": [], "test": []}
    for row in rows:
        parts[part_of.get(row["split_group"], "train")].append(row)
    return parts


#: what is made of a row, and of what share of the rows: of those with an identity attack, of harmless ones
CHANCES = {"spelling": (0.05, 0.05), "frame": (0.1, 0.12), "group": (0.0, 0.3)}
REJECTED = 0.6


def variants(rows: list[Row], rng: random.Random) -> Iterator[Row]:
    """Variants of rows, with the labels that follow from how they are made."""
    for row in rows:
        hateful, harmless = row["identity_attack"] == "1", row["toxicity"] == "0" and row["identity_attack"] != "1"
        chances = {kind: of_hateful if hateful else of_others for kind, (of_hateful, of_others) in CHANCES.items()}
        (kind,) = rng.choices([*chances, ""], [*chances.values(), 1 - sum(chances.values())])
        text = row["text"].strip()
        if kind == "spelling":
            changed = spelling(text, rng)
            if changed and changed != text:
                yield row | {"text": changed, "source": "variant-spelling", "profanity": "", "sexual": ""}
        elif kind == "group" and harmless and (changed := group(text, rng)):
            yield row | {"text": changed, "source": "variant-group"}
        elif kind == "frame" and (hateful or harmless) and len(text.split()) <= FRAME_WORDS:
            rejected = rng.random() < REJECTED
            if rejected and harmless and GROUP.search(text):
                continue
            frame = rng.choice(REJECTING if rejected else AGREEING)
            known = {}
            if rejected and hateful:
                known = dict.fromkeys(LABELS, "") | {"toxicity": "0", "identity_attack": "0"}
            yield row | known | {"text": frame.format(text.rstrip(".")), "source": "variant-frame"}


def write(path: Path, rows: list[Row]) -> None:
    """Writes rows as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def weights(graph: Any) -> dict[str, np.ndarray]:
    """The float32 weights of an int8 graph of a BERT model, by their names in its checkpoint."""
    from onnx import numpy_helper

    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    producers = {output: node for node in graph.node for output in node.output}
    found = {}
    for name, tensor in tensors.items():
        table, _, suffix = name.partition("/")
        if name.startswith(("bert.", "classifier.")) and suffix in ("", "rows_int8"):
            rows = tensor if not suffix else tensor.astype(np.float32) * tensors[f"{table}/rows_scale"]
            found[_checkpoint_name(table)] = rows
    for node in graph.node:
        if node.op_type == "MatMulIntegerToFloat":
            quantized, matrix, _, scale = node.input[:4]
            smoothing = producers[producers[quantized].input[0]].input[1]
            product = tensors[matrix].astype(np.float32) * tensors[scale] * tensors[smoothing][:, None]
            found[_checkpoint_name(node.input[6]).removesuffix("bias") + "weight"] = np.ascontiguousarray(product.T)
    return found


def _checkpoint_name(name: str) -> str:
    """The last layer computes the first token only, and has a module more for that."""
    return (
        name.replace(".layer.attention", ".attention")
        .replace(".layer.intermediate", ".intermediate")
        .replace(".layer.output", ".output")
    )


def write_checkpoint(bundle: Any, base: Path, output: Path) -> None:
    """Writes the weights of a bundle as a checkpoint, with the tokenizer of the base."""
    import onnx
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    names = bundle.manifest.labels.names
    config = BertConfig.from_pretrained(
        base, id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)},
        problem_type="multi_label_classification",
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    tensors = weights(onnx.load(bundle.path / "model.onnx").graph)
    model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in tensors.items()})
    model.save_pretrained(output)
    for file in base.iterdir():
        if file.name.startswith(("tokenizer", "vocab", "special_tokens")):
            shutil.copy(file, output)


def main() -> None:
    """Writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="CSV with the columns text, source, split_group and the labels")
    parser.add_argument("--bundle", type=Path, required=True, help="the released bundle")
    parser.add_argument("--base", type=Path, required=True, help="folder with the pretrained model of the bundle")
    parser.add_argument("--leave-out", default="", help="values of the column source to leave out, with commas")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("-o", "--output", required=True, type=Path)
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.bundle)
    with arguments.file.open(encoding="utf-8", newline="") as file:
        left_out = set(arguments.leave_out.split(","))
        rows = [row for row in csv.DictReader(file) if row["source"] not in left_out]
    cleaned = [bundle.manifest.text.clean(row["text"]) for row in rows]
    files = [arguments.bundle / name for name in FINGERPRINT_FILES.values()]
    fingerprints = np.concatenate([load_fingerprints(file) for file in files if file.is_file()])
    seen = is_seen(cleaned, fingerprints)
    rng = random.Random(arguments.seed)
    parts = divide(rows, seen, rng)
    arguments.output.mkdir(parents=True, exist_ok=True)
    parts["train"] += list(variants(parts["train"], rng))
    for part, members in parts.items():
        write(arguments.output / f"{part}.csv", members)
        digest = hashlib.sha256((arguments.output / f"{part}.csv").read_bytes()).hexdigest()
        print(f"{part}: {len(members):,} rows, sha256 {digest}")
    print(f"seen by the bundle: {seen.sum():,} of {len(rows):,} rows")
    checkpoint = arguments.output / f"{bundle.manifest.name}-weights"
    write_checkpoint(bundle, arguments.base, checkpoint)
    shutil.copy(arguments.bundle / FINGERPRINT_FILES["training"], checkpoint)


if __name__ == "__main__":
    main()
