"""Small models made on the fly: real architectures, real tokenizers, mild sentences."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import pretrained, recipe, sentences, toxonnx, write_csv

# The models here are so small that a second thread costs more than it gives.
os.environ.setdefault("OMP_NUM_THREADS", "1")


#: makes a folder, by its name and what fills it
MakeOnce = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """Makes a folder once for all processes of a test run, which wait for each other."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        folder, made = root / f"shared-{name}", root / f"shared-{name}.made"
        with open(root / f"shared-{name}.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                made.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """320 rows: text, class."""
    path = tmp_path_factory.mktemp("data") / "rows.csv"
    return write_csv(path, ["text", "class"], [list(row) for row in sentences(320)])


@pytest.fixture(scope="session")
def bases(make_once: MakeOnce) -> dict[str, Path]:
    """Folders of small encoders with real tokenizers: WordPiece, and for roberta byte-level BPE."""
    folder = make_once("bases", _save_bases)
    return {name: folder / name for name in ("bert", "distilbert", "roberta", "albert", "deberta")}


def _save_bases(root: Path) -> None:
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
    wordpiece = AutoTokenizer.from_pretrained(pretrained())
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
        "bert": BertModel.from_pretrained(pretrained(), num_hidden_layers=2),
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


@pytest.fixture(scope="session")
def checkpoints(bases: dict[str, Path], make_once: MakeOnce) -> dict[str, Path]:
    """Classifiers with random heads and different logits for different texts."""
    folder = make_once("checkpoints", lambda root: _save_checkpoints(root, bases))
    return {path.name: path for path in folder.iterdir()}


def _save_checkpoints(root: Path, bases: dict[str, Path]) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(1)
    for name in ("bert", "distilbert", "roberta", "deberta"):
        config = AutoConfig.from_pretrained(bases[name], num_labels=3)
        model = AutoModelForSequenceClassification.from_pretrained(bases[name], config=config)
        for key, parameter in model.named_parameters():  # with zero biases or equal logits the test would prove nothing
            torch.nn.init.normal_(parameter, std=0.1, mean=float("norm.weight" in key.lower()))
        model.save_pretrained(root / name)
        AutoTokenizer.from_pretrained(bases[name]).save_pretrained(root / name)


@pytest.fixture(scope="session")
def run(bases: dict[str, Path], labelled: Path, make_once: MakeOnce) -> Path:
    """A finished LoRA run of the small DistilBERT."""

    def train(folder: Path) -> None:
        small = recipe(folder / "small.toml", epochs=4)
        done = toxonnx("train", labelled, "--recipe", small, "--base", bases["distilbert"], "-o", folder / "run")
        assert done.returncode == 0, done.stderr
        (folder / "screen.txt").write_text(done.stderr + done.stdout, encoding="utf-8")

    return make_once("run", train) / "run"


@pytest.fixture(scope="session")
def bundles(run: Path, make_once: MakeOnce) -> dict[str, Path]:
    """The run exported in each precision."""

    def export(folder: Path) -> None:
        for precision in ("fp32", "int8", "fp16"):
            done = toxonnx("export", run, "-o", folder / precision, "--precision", precision)
            assert done.returncode == 0, done.stderr

    folder = make_once("bundles", export)
    return {precision: folder / precision for precision in ("fp32", "int8", "fp16")}


@pytest.fixture(scope="session")
def cascade(bundles: dict[str, Path], make_once: MakeOnce) -> Path:
    """The int8 bundle with a first stage."""
    return make_once("cascade", lambda folder: _save_cascade(folder / "small", bundles["int8"])) / "small"


def _save_cascade(folder: Path, bundle: Path) -> None:
    import dataclasses

    import numpy as np

    from toxonnx import Classifier
    from toxonnx.bundle import CASCADE_WEIGHTS, seal
    from toxonnx.convert.cascade import cascade_target, fit_cascade

    classifier = Classifier.load(bundle)
    texts = [text for text, _ in sentences(1500, 11)]
    target = cascade_target({"*": 0.97}, classifier.labels)
    assert target is not None
    section, weights = fit_cascade(classifier, texts, np.zeros(0, np.uint64), target, where="sentences")
    shutil.copytree(bundle, folder)
    np.save(folder / CASCADE_WEIGHTS, weights)
    seal(folder, dataclasses.replace(classifier.bundle.manifest, cascade=section))
