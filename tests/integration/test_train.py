"""Training on the command line: killed and resumed, stopped early, with bad data."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import recipe, sentences, toxonnx, write_csv

from toxonnx.data.fingerprints import hashes, load_fingerprints, save_fingerprints


def _metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_killed_training_resumes_to_the_same_result(bases: dict[str, Path], labelled: Path, tmp_path: Path) -> None:
    spec = recipe(tmp_path / "r.toml", epochs=4, rate=2e-3)
    arguments = ["train", str(labelled), "--recipe", str(spec), "--base", str(bases["distilbert"])]
    whole = toxonnx(*arguments, "-o", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr

    run = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "toxonnx", *arguments, "-o", str(run)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=dict(os.environ),
    )
    deadline = time.monotonic() + 120
    while not list(run.glob("checkpoints/checkpoint-*/trainer_state.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (run / "checkpoint").exists()

    nowhere = toxonnx(*arguments, "-o", tmp_path / "nowhere", "--resume")
    assert nowhere.returncode == 2 and "there is no run to resume" in nowhere.stderr
    refused = toxonnx(*arguments, "-o", run)
    assert refused.returncode == 2 and "--resume" in refused.stderr
    unfinished = toxonnx("export", run, "-o", tmp_path / "bundle")
    assert unfinished.returncode == 2 and "has not finished" in unfinished.stderr
    other = recipe(tmp_path / "other.toml", epochs=5)
    changed = toxonnx("train", labelled, "--recipe", other, "--base", bases["distilbert"], "-o", run, "--resume")
    assert changed.returncode == 2 and "was started with another recipe" in changed.stderr

    resumed = toxonnx(*arguments, "-o", run, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert re.search(r"^resuming from checkpoint-\d+$", resumed.stderr, re.MULTILINE)
    before, after = _metrics(tmp_path / "whole"), _metrics(run)
    assert [line["epoch"] for line in after] == [1, 2, 3, 4]
    for one, two in zip(before, after, strict=True):
        assert one["validation_loss"] == pytest.approx(two["validation_loss"], rel=1e-3)
    again = toxonnx(*arguments, "-o", run, "--resume")
    assert again.returncode == 2 and "has finished" in again.stderr


def test_early_stopping_keeps_the_best_epoch(bases: dict[str, Path], labelled: Path, tmp_path: Path) -> None:
    # The learning rate is so high that nothing is learnt: the first epoch stays the best.
    spec = recipe(tmp_path / "r.toml", method="full", epochs=12, rate=3.0, extra="patience = 2\nclass_weights = 0.5")
    done = toxonnx("train", labelled, "--recipe", spec, "--base", bases["bert"], "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    table = json.loads((tmp_path / "run" / "run.json").read_text())
    assert table["epochs"] < 12
    assert table["epochs"] == table["best_epoch"] + 2


def test_a_separate_validation_file(bases: dict[str, Path], labelled: Path, tmp_path: Path) -> None:
    rows = [list(row) for row in sentences(40, 11)]
    overlap = labelled.read_text().splitlines()[1].rsplit(",", 1)
    validation = write_csv(tmp_path / "validation.csv", ["text", "class"], [*rows, overlap])
    spec = recipe(tmp_path / "r.toml", epochs=1)
    done = toxonnx(
        "train", labelled, "--recipe", spec, "--base", bases["distilbert"], "-o", tmp_path / "run",
        "--validation", validation,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "run" / "curves.png").exists()  # there is no curve through one epoch
    assert "training on 320 rows, validating on the given file\n" in done.stderr
    assert "warning: 1 validation row is also a training row; metrics are inflated" in done.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["split"]["validation_rows"] == 41


@pytest.mark.parametrize("given", ["validation", ""])
def test_a_separate_test_file(bases: dict[str, Path], labelled: Path, tmp_path: Path, given: str) -> None:
    files = {
        name: write_csv(tmp_path / f"{name}.csv", ["text", "class"], [list(row) for row in sentences(count, seed)])
        for name, count, seed in (("validation", 40, 11), ("test", 60, 12))
    }
    spec = recipe(tmp_path / "r.toml", epochs=1)
    spec.write_text(spec.read_text().replace("validation = 0.2", "validation = 0.2\ntest = 0.2"))
    options = [f"--{given}", files[given]] if given else []
    done = toxonnx(
        "train", labelled, "--recipe", spec, "--base", bases["distilbert"], "-o", tmp_path / "run", *options,
        "--test", files["test"],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = "320 rows, validating on the given file" if given else r"\d+ rows, validating on \d+"
    assert re.search(rf"training on {rows}, testing on the given file\n", done.stderr)
    table = json.loads((tmp_path / "run" / "run.json").read_text())
    assert table["split"]["test_rows"] == 60 and table["test_file"]["file"] == "test.csv"
    assert table["split"]["train"] + table["split"]["validation"] == 320
    assert set(table["metrics"]) == set(table["baselines"]) == {"validation", "test"}
    assert len((tmp_path / "run" / "test.csv").read_text().splitlines()) == 61


@pytest.mark.parametrize("part_of_a_run", [True, False])
def test_a_model_that_is_trained_further_remembers_its_texts(
    bases: dict[str, Path], tmp_path: Path, *, part_of_a_run: bool
) -> None:
    base, other, seen = tmp_path / "old" / "checkpoint", tmp_path / "copy", [text for text, _ in sentences(60, 20)]
    shutil.copytree(bases["distilbert"], base)
    (tmp_path / "old" / "run.json").write_text("{}")
    save_fingerprints(tmp_path / "old" / "training_texts.npy", seen)
    if not part_of_a_run:  # a checkpoint that has them beside its weights
        shutil.copytree(base, other)
        base = other
        shutil.copy(tmp_path / "old" / "training_texts.npy", base)
    new = [list(row) for row in sentences(60, 21)]
    old = [list(row) for row in sentences(60, 20) if row not in sentences(60, 21)][:8]
    data = write_csv(tmp_path / "new.csv", ["text", "class"], new)
    validation = write_csv(tmp_path / "validation.csv", ["text", "class"], old)
    done = toxonnx(
        "train", data, "--recipe", recipe(tmp_path / "r.toml", epochs=1), "--base", base, "-o", tmp_path / "run",
        "--validation", validation,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "warning: the base model was trained on 8 of the validation rows; metrics are inflated" in done.stderr
    after = load_fingerprints(tmp_path / "run" / "training_texts.npy")
    assert set(after.tolist()) == set(hashes([*seen, *(text for text, _ in new)]).tolist())


FINE = [["a warm soup", "good"], ["a calm river", "good"], ["a rotten plan", "bad"], ["an ugly coat", "bad"]]
BAD = {
    "one class": ([["a soup", "good"], ["a coat", "good"]], "column 'class' contains only the class 'good'"),
    "class with one row": ([*FINE, ["a dull song", "odd"]], "class 'odd' has 1 distinct text (line 6)"),
    "no label": ([*FINE, ["a dull song", ""]], "line 6: column 'class' has no label"),
    "no text in a class": ([*FINE, ["", "odd"], [" ", "odd"]], "no row with text of the class 'odd'"),
    "no text": ([["", "good"], [" ", "bad"]], "no row with text"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_in_the_data_are_named(bases: dict[str, Path], tmp_path: Path, name: str) -> None:
    rows, message = BAD[name]
    data = write_csv(tmp_path / "bad.csv", ["text", "class"], rows)
    spec = recipe(tmp_path / "r.toml")
    done = toxonnx("train", data, "--recipe", spec, "--base", bases["distilbert"], "-o", tmp_path / "run")
    assert done.returncode == 2
    assert message in done.stderr
    assert str(data) in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_empty_texts_are_left_out_and_reported(bases: dict[str, Path], tmp_path: Path) -> None:
    data = write_csv(
        tmp_path / "gaps.csv", ["text", "class"], [*map(list, sentences(40)), ["", "praise"], [" ", "praise"]]
    )
    spec = recipe(tmp_path / "r.toml", epochs=1, tail='\n[export]\nprecision = "fp32"\n')
    done = toxonnx("train", data, "--recipe", spec, "--base", bases["distilbert"], "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "2 rows with an empty text are left out" in done.stderr


def test_a_missing_base_model(labelled: Path, tmp_path: Path) -> None:
    # Nothing listens on the port in HF_ENDPOINT, as on a machine without a network.
    for base, message in (
        ("no/such/folder", "there is no folder no/such/folder"),
        ("no-such-model", "and the hub cannot be reached"),
    ):
        done = toxonnx(
            "train", labelled, "--recipe", recipe(tmp_path / "r.toml"), "--base", base, "-o", tmp_path / "run",
            HF_ENDPOINT="http://127.0.0.1:9",
        )  # fmt: skip
        assert done.returncode == 2
        assert message in done.stderr and "Traceback" not in done.stderr
        assert not (tmp_path / "run").exists()


def test_training_reads_only_the_columns_in_the_recipe(bases: dict[str, Path], labelled: Path, tmp_path: Path) -> None:
    spec = recipe(tmp_path / "r.toml")
    spec.write_text(spec.read_text().replace('columns = ["text"]', 'columns = ["txet"]'))
    done = toxonnx("train", labelled, "--recipe", spec, "--base", bases["bert"], "-o", tmp_path / "run")
    assert done.returncode == 2
    assert "no column 'txet'" in done.stderr and "'text', 'class'" in done.stderr


def test_force_replaces_only_runs_and_bundles(
    bases: dict[str, Path], labelled: Path, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("precious")
    spec = recipe(tmp_path / "r.toml")
    for arguments in (
        ["train", labelled, "--recipe", spec, "--base", bases["bert"]],
        ["export", run],
    ):
        done = toxonnx(*arguments, "-o", tmp_path / "thesis", "--force")
        assert done.returncode == 2 and "--force does not replace it" in done.stderr
    assert (tmp_path / "thesis" / "thesis.tex").read_text() == "precious"


def test_unknown_lora_targets_and_labels(bases: dict[str, Path], labelled: Path, tmp_path: Path) -> None:
    spec = recipe(tmp_path / "r.toml")
    text = spec.read_text()
    spec.write_text(text.replace('targets = "all-linear"', 'targets = ["c_attn"]'))
    done = toxonnx("train", labelled, "--recipe", spec, "--base", bases["bert"], "-o", tmp_path / "run")
    assert done.returncode == 2
    assert "there is no linear layer named c_attn" in done.stderr and "query" in done.stderr
    spec.write_text(text.replace('column = "class"', 'column = "class"\nnames = { praise = "good", other = "odd" }'))
    done = toxonnx("train", labelled, "--recipe", spec, "--base", bases["bert"], "-o", tmp_path / "run2")
    assert done.returncode == 2
    assert "column 'class' must contain one of praise, other, got 'complaint'" in done.stderr
