"""Tokenizer processes: the same tokens, clear errors, nothing left running."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from helpers import SHIPPED, child_processes, each_alone, sentences

from toxonnx import Classifier, Prediction, RuntimeOptions
from toxonnx.bundle import open_bundle, seal
from toxonnx.convert.sample_texts import SENTENCES
from toxonnx.errors import BundleError, MachineError

NO_TOKENS = ["", "\N{THUMBS UP SIGN}"]
POOL = [
    *SENTENCES, *(text for text, _ in sentences(30)), "word " * 300, "a", "\ud83d today", f"&#{'9' * 4301};", *NO_TOKENS
]  # fmt: skip


@pytest.fixture(scope="module")
def reference() -> dict[str, Prediction]:
    """Each text scored by itself."""
    classifier = Classifier.load(threads=1)
    return each_alone(classifier, POOL)


@pytest.fixture
def multiprocess(monkeypatch: pytest.MonkeyPatch) -> Classifier:
    """The shipped bundle, tokenizing in processes, as it does if the model runs on a GPU."""
    classifier = Classifier(open_bundle(SHIPPED), RuntimeOptions(chunk_size=40, tokenizer_processes=2))
    monkeypatch.setattr("toxonnx.inference.tokenizer_pool.CHUNK", 7)
    return classifier


def test_tokenizer_processes_do_not_change_scores(reference: dict[str, Prediction], multiprocess: Classifier) -> None:
    texts = POOL * 5
    results = list(multiprocess.stream(texts))
    assert [text for text, _ in results] == texts
    for text, prediction in results:
        assert prediction._replace(cached=False) == reference[text]
        assert prediction.truncated == (text == "word " * 300)
        assert prediction.repaired == ("\ud83d" in text) and prediction.no_tokens == (text in NO_TOKENS)
    assert sum(prediction.cached for _, prediction in results) == len(texts) - len(set(texts))


def test_tokenizer_processes_that_exit_at_once_are_an_error(
    multiprocess: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program, message in (("/bin/false", r"has ended \(exit code 1\)"), ("", "does not start")):
        monkeypatch.setattr("sys.executable", program)
        with pytest.raises(MachineError, match=message):
            list(multiprocess.stream(f"day {number}" for number in range(200)))


def test_tokenizer_processes_import_nothing_from_the_working_directory(
    multiprocess: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tokenizers.py").write_text("raise SystemExit('a file of the user was run')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert len(list(multiprocess.stream(f"day {number}" for number in range(90)))) == 90


def test_a_killed_tokenizer_process_is_an_error_and_none_is_left_running(multiprocess: Classifier) -> None:
    others = child_processes(os.getpid())
    stream = multiprocess.stream(f"day {number}" for number in itertools.count())
    for _, _ in itertools.islice(stream, 200):
        pass
    children = child_processes(os.getpid()) - others
    assert len(children) == 2
    os.kill(min(children), signal.SIGKILL)
    with pytest.raises(MachineError, match=r"a tokenizer process has ended .was killed; did memory run out"):
        for _ in stream:
            pass
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


def test_a_text_is_read_up_to_a_number_of_characters(multiprocess: Classifier) -> None:
    limit = 1024 * multiprocess.bundle.manifest.max_length
    texts = [" " * (limit - 5) + "awful", " " * (limit - 5) + "awful and more", " " * limit + "awful", "awful", ""]
    for scores in (multiprocess.score(texts), next(multiprocess.score_batches(texts * 20))[1]):
        assert scores.truncated.tolist()[:5] == [False, True, True, False, False]
        assert (scores.logits[[0, 1, 2]] == scores.logits[[3, 3, 4]]).all()
    assert multiprocess.score(texts[2]).truncated.tolist() == [True]


def test_a_tokenizer_that_fails_in_a_process_is_the_same_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(SHIPPED, tmp_path / "bundle")
    path = tmp_path / "bundle" / "tokenizer.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    table["model"]["vocab"]["morning"] = 1 << 31
    path.write_text(json.dumps(table), encoding="utf-8")
    seal(tmp_path / "bundle", open_bundle(SHIPPED).manifest)
    classifier = Classifier.load(tmp_path / "bundle", chunk_size=40, tokenizer_processes=1)
    with pytest.raises(BundleError, match="the tokenizer of this bundle gives an id that no model has"):
        list(classifier.stream([*(f"day {number}" for number in range(200)), "this morning"]))
    assert capfd.readouterr().err == ""
