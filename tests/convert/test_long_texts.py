"""An export that reads long texts in windows: verified, with thresholds of the pooled scores, and compared alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import make_checkpoint
from click.testing import CliRunner, Result
from helpers import SHIPPED, sentences, write_csv
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from toxonnx import Classifier
from toxonnx.bench import scorers
from toxonnx.bench.candidates import CandidateOptions, build_candidates
from toxonnx.bundle import open_bundle
from toxonnx.cli import group
from toxonnx.errors import InputError
from toxonnx.inference.self_test import run_self_test
from toxonnx.inference.tokenizer import Tokenizer
from toxonnx.inference.windows import pool_windows
from toxonnx.long_texts import LongTexts
from toxonnx.train.tokenizers import encode_windows, load_tokenizer

THEIRS = load_tokenizer(str(SHIPPED))
#: of one to some ten windows
TEXTS = [" ".join(text for text, _ in sentences(1 + number % 30, number)) for number in range(60)]
OPTIONS = ["--long-texts", "windows", "--stride", 8, "--max-windows", 4]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(group, list(map(str, arguments)))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("windows") / "checkpoint", names=("toxic",))


@pytest.fixture(scope="module")
def expected(checkpoint: Path) -> np.ndarray:
    """The largest logit of the first four windows, by transformers."""
    tokenizer, model = (
        AutoTokenizer.from_pretrained(checkpoint),
        AutoModelForSequenceClassification.from_pretrained(checkpoint),
    )
    largest = []
    for text in TEXTS:
        ids = tokenizer(text, truncation=True, max_length=64, stride=8, return_overflowing_tokens=True)["input_ids"]
        with torch.inference_mode():
            largest.append(max(model(input_ids=torch.tensor([window])).logits.item() for window in ids[:4]))
    return np.array(largest)


@pytest.fixture(scope="module")
def data(expected: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels that the pooled scores, and only these, predict from some threshold on."""
    toxic = (expected > np.median(expected)).astype(int)
    rows = [list(row) for row in zip(TEXTS, toxic, strict=True)]
    return write_csv(tmp_path_factory.mktemp("windows") / "rows.csv", ["text", "is_toxic"], rows)


def export(checkpoint: Path, data: Path, output: Path, *options: object) -> Result:
    return run(
        "export", checkpoint, "-o", output, "--activation", "sigmoid", "--data", data, "--text-column", "text",
        "--label-column", "is_toxic", "--no-calibration", "--best-f1", "--precision", "fp32",
        "--allow-worse-than-baseline", *options,
    )  # fmt: skip


def test_the_export_is_verified_on_windows(checkpoint: Path, data: Path, expected: np.ndarray, tmp_path: Path) -> None:
    done = export(checkpoint, data, tmp_path / "bundle", *OPTIONS)
    assert done.exit_code == 0, done.output
    bundle = open_bundle(tmp_path / "bundle")
    manifest = bundle.manifest
    assert manifest.long_texts == LongTexts(stride=8, pool="max", max_windows=4)
    assert manifest.verification is not None and manifest.verification.long_texts is not None
    assert manifest.verification.long_texts.rows == 100
    assert manifest.verification.long_texts.fp32_largest_logit_difference < 1e-4
    classifier = Classifier(bundle)
    unlimited = LongTexts(stride=8, pool="max", max_windows=99)
    windows = Tokenizer(bundle.path / "tokenizer.json", 64, unlimited)(TEXTS).windows
    assert windows.min() == 1 and windows.max() > 4
    scores = classifier.score(TEXTS)
    assert scores.truncated.tolist() == (windows > 4).tolist()
    np.testing.assert_allclose(scores.logits[:, 0], expected, atol=1e-5)
    # The thresholds are those of the pooled scores.
    assert scores.decisions[:, 0].tolist() == (expected > np.median(expected)).tolist()
    truncated = Classifier.load(bundle.path, long_texts="truncate")
    assert (truncated.score(TEXTS).logits != scores.logits).any()
    # The self-test has long texts, which it leaves out where they are read otherwise.
    for one, count in ((classifier, 23), (truncated, 19)):
        result = run_self_test(one)
        assert result is not None and result.passed and result.sentences == count
    assert "up to 4 windows, stride 8, pooled by max" in run("info", bundle.path).output
    report = tmp_path / "report.json"
    done = run("eval", bundle.path, data, "--label-column", "is_toxic", "--json", report)
    assert done.exit_code == 0, done.output
    (model,) = json.loads(report.read_text())["models"]
    assert model["all_rows"]["metrics"]["accuracy"] == 1 and model["truncated"] == (windows > 4).sum()

    notes: list[str] = []
    options = CandidateOptions(cores=1)
    _, theirs = build_candidates(bundle, (str(checkpoint),), options, tmp_path / "scratch", notes.append)
    assert "pipeline is left out" in notes[0] and theirs.name == "PyTorch sorted (checkpoint)"
    arguments = {key: value for key, value in theirs.options.items() if key != "model"}
    other = scorers.pytorch(Path(theirs.options["model"]), **arguments).score(TEXTS)
    np.testing.assert_allclose(other.logits, scores.logits, atol=1e-5)
    assert other.truncated.tolist() == scores.truncated.tolist()
    with pytest.raises(InputError, match="reads long texts in another way"):
        build_candidates(bundle, (str(SHIPPED),), options, tmp_path / "scratch")


def test_windows_that_are_pooled_otherwise_than_by_pytorch_are_not_sealed(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(logits: np.ndarray, windows: np.ndarray, *_: Any) -> np.ndarray:
        return pool_windows(logits, windows, Classifier.load().labels, "mean")

    monkeypatch.setattr("toxonnx.inference.classifier.pool_windows", wrong)
    short = write_csv(tmp_path / "rows.csv", ["text"], [[text] for text, _ in sentences(30)])
    done = run(
        "export", checkpoint, "-o", tmp_path / "bundle", "--activation", "sigmoid", "--data", short, "--text-column",
        "text", "--precision", "fp32", *OPTIONS,
    )  # fmt: skip
    assert done.exit_code == 1 and "ONNX fp32 differs from PyTorch" in str(done.exception)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stride", 4], "stride is set, but long_texts is truncate"),
        (["--long-texts", "truncate", "--pool", "mean"], "pool is set, but long_texts is truncate"),
        (["--long-texts", "windows", "--stride", 62], "stride is 62, but a window has room for 62 tokens"),
    ],
)
def test_settings_that_contradict_each_other(
    checkpoint: Path, tmp_path: Path, options: list[object], message: str
) -> None:
    done = run("export", checkpoint, "-o", tmp_path / "bundle", *options)
    assert isinstance(done.exception, InputError) and message in str(done.exception)


WORDS = st.sampled_from(["so", "soup", "unbelievably", "\N{SNOWMAN}", "..."])


@settings(max_examples=15, deadline=None)
@given(
    texts=st.lists(st.lists(WORDS, max_size=90), max_size=4),
    stride=st.integers(0, 20), max_windows=st.integers(1, 5),
)  # fmt: skip
def test_transformers_makes_the_same_windows(texts: list[list[str]], stride: int, max_windows: int) -> None:
    reading = LongTexts(stride=stride, pool="max", max_windows=max_windows)
    joined = [" ".join(words) for words in texts]
    ours = Tokenizer(SHIPPED / "tokenizer.json", 24, reading)(joined)
    theirs = encode_windows(THEIRS, joined, 24, reading)
    for name in ("windows", "truncated", "no_tokens", "lengths"):
        assert getattr(ours, name).tolist() == getattr(theirs, name).tolist()
    assert ours.tokens.ids.tolist() == theirs.tokens.ids.tolist()
