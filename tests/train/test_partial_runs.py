"""Training through its Python interface: interrupted within an epoch, labels that nobody judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import recipe, sentences, write_csv

from toxonnx.data.examples import load_saved_rows
from toxonnx.data.label_values import MISSING
from toxonnx.errors import InputError
from toxonnx.evaluate.metrics import evaluate
from toxonnx.recipe_files import load_recipe
from toxonnx.train.adapters import load_trained
from toxonnx.train.fit import TrainRequest, fit
from toxonnx.train.trainer import Reports


class _StoppedError(Exception):
    """Ends a training at some step."""


def _stop_at(step: int) -> Reports:
    def progress(share: float | None, note: str) -> None:
        if note.startswith(f"step {step} "):
            raise _StoppedError

    return Reports(log=lambda line: None, progress=progress)


QUIET = Reports(log=lambda line: None)


def test_a_training_stopped_within_an_epoch_resumes_to_the_same_bytes(
    bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toxonnx.train.callbacks.REPORT_SECONDS", 0.0)
    monkeypatch.setattr("toxonnx.train.trainer.cpu_has_bf16", lambda: True)
    data = write_csv(tmp_path / "rows.csv", ["text", "class"], [list(row) for row in sentences(80)])
    spec = recipe(tmp_path / "r.toml", epochs=2, extra='precision = "bf16"\ncheckpoint_minutes = 1e-9')
    spec.write_text(spec.read_text().replace("dropout = 0.0", "dropout = 0.2"))  # draws random numbers in each step
    loaded = load_recipe(spec)

    def request(name: str, *, resume: bool = False) -> TrainRequest:
        return TrainRequest(
            recipe=loaded, data=data, output=tmp_path / name, base=str(bases["distilbert"]), resume=resume
        )

    whole = fit(request("whole"), QUIET)
    # 8 steps are an epoch. The first stop is within it, the second within the other one.
    for stop, resume in ((4, False), (11, True)):
        with pytest.raises(_StoppedError):
            fit(request("stopped", resume=resume), _stop_at(stop))
    resumed = fit(request("stopped", resume=True), QUIET)
    for name in ("checkpoint/adapter_model.safetensors", "metrics.jsonl"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert resumed.metrics == whole.metrics and resumed.baselines == whole.baselines


def _partial(count: int) -> list[list[object]]:
    """Texts with the columns praise and soup; every third cell is empty, and some rows have no label."""
    rows = []
    for i, (text, label) in enumerate(sentences(count)):
        cells: list[object] = [int(label == "praise"), int("soup" in text)]
        rows.append([text, "" if i % 3 == 0 else cells[0], "" if i % 3 == 1 or i % 15 == 0 else cells[1]])
    return rows


def test_labels_that_nobody_judged_count_nowhere(bases: dict[str, Path], tmp_path: Path) -> None:
    data = write_csv(tmp_path / "rows.csv", ["text", "praise", "soup"], _partial(150))
    spec = recipe(tmp_path / "r.toml", epochs=1, extra="label_weights = { soup = 2.0 }")
    spec.write_text(spec.read_text().replace('column = "class"', 'columns = ["praise", "soup"]\nmissing = "drop"'))
    lines: list[str] = []
    base = str(bases["distilbert"])
    run = fit(
        TrainRequest(recipe=load_recipe(spec), data=data, output=tmp_path / "run", base=base), Reports(log=lines.append)
    )
    assert run.coverage == {"praise": 100, "soup": 90}
    assert "rows in which a label was judged: praise 71%, soup 64%" in lines
    assert "10 rows without a label are left out" in lines
    metrics = run.metrics["validation"]
    logged = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    assert logged["validation_loss"] == pytest.approx(metrics["loss"], abs=1e-6)
    trained = load_trained(tmp_path / "run")
    texts, y_true = load_saved_rows(tmp_path / "run" / "validation.csv", trained.labels)
    assert {name: one["known"] for name, one in metrics["per_class"].items()} == {
        name: int((y_true[:, i] != MISSING).sum()) for i, name in enumerate(trained.labels.names)
    }
    tokens = trained.tokenizer(texts, return_tensors="pt", padding=True)
    again = evaluate(
        trained.model(tokens.input_ids, tokens.attention_mask).logits.detach().numpy(), y_true, trained.labels
    )
    assert again.loss == pytest.approx(metrics["loss"], abs=1e-4)


def test_a_label_column_with_one_value_is_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    rows = [[text, 1 if i % 2 else "", i % 2] for i, (text, _) in enumerate(sentences(30))]
    data = write_csv(tmp_path / "rows.csv", ["text", "praise", "soup"], rows)
    spec = recipe(tmp_path / "r.toml")
    spec.write_text(spec.read_text().replace('column = "class"', 'columns = ["praise", "soup"]'))
    request = TrainRequest(recipe=load_recipe(spec), data=data, output=tmp_path / "run", base=str(bases["distilbert"]))
    with pytest.raises(InputError, match="column 'praise' contains only the class 1"):
        fit(request, QUIET)
