"""Training in this process: what is refused before it starts, a full disk, a damaged checkpoint, ties."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import largest_file, recipe, sentences, write_csv

from toxonnx.data.examples import load_saved_rows
from toxonnx.disk import replace_text
from toxonnx.errors import CheckpointError, InputError, MachineError, RecipeError
from toxonnx.recipe import Recipe, Teacher
from toxonnx.recipe_files import load_recipe, recipe_from_dict
from toxonnx.train.adapters import Trained, load_trained
from toxonnx.train.fit import TrainRequest, fit
from toxonnx.train.pretrained import load_model
from toxonnx.train.report import best_epoch
from toxonnx.train.trainer import Reports


def _request(folder: Path, base: Path, head: str = "", **spec: Any) -> TrainRequest:
    data = write_csv(folder / "rows.csv", ["text", "class"], [list(row) for row in sentences(40)])
    path = recipe(folder / "r.toml", **spec)
    path.write_text(head + path.read_text())
    return TrainRequest(recipe=load_recipe(path), data=data, output=folder / "run", base=str(base))


QUIET = Reports(log=lambda _: None)


def test_a_full_disk_is_reported_and_the_run_resumes(bases: dict[str, Path], tmp_path: Path) -> None:
    request = _request(tmp_path, bases["distilbert"], epochs=1)
    with largest_file(1_000), pytest.raises(MachineError, match="/run: the disk is full"):
        fit(request, QUIET)
    # The limits stop different libraries: safetensors, PyTorch.
    for limit in (30_000, 60_000, 200_000):
        with largest_file(limit), pytest.raises(MachineError, match=r"/run: the disk is full.*\n.*--resume"):
            fit(request, QUIET)
        request = dataclasses.replace(request, resume=True)
    before = (tmp_path / "run" / "run.json").read_text()
    with largest_file(10), pytest.raises(OSError, match="File too large"):
        replace_text(tmp_path / "run" / "run.json", before.replace("false", "true"))
    assert (tmp_path / "run" / "run.json").read_text() == before and not list(tmp_path.glob("run/.*"))
    assert fit(request, QUIET).finished


def test_a_damaged_checkpoint_is_named(bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = _request(tmp_path, bases["distilbert"], epochs=1)
    monkeypatch.setattr("toxonnx.train.fit._finish", lambda *_: None)  # leaves an unfinished run with a checkpoint
    fit(request, QUIET)
    (checkpoint,) = tmp_path.glob("run/checkpoints/*")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "adapter_model.safetensors"):
        whole = (checkpoint / name).read_bytes()
        for damaged in (whole[: len(whole) // 2], b""):
            (checkpoint / name).write_bytes(damaged)
            with pytest.raises(CheckpointError, match=rf"{name} is missing or damaged.*\nRemove the folder"):
                fit(dataclasses.replace(request, resume=True), QUIET)
        (checkpoint / name).write_bytes(whole)


def test_a_length_beyond_the_model_is_refused_before_anything_is_trained(
    bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toxonnx.train.training_data.baseline", lambda *_: pytest.fail("the baseline was trained"))
    with pytest.raises(InputError, match=r"max_length is 600, but .* takes at most 160 tokens"):
        fit(_request(tmp_path, bases["distilbert"], "max_length = 600\n"), QUIET)
    assert not (tmp_path / "run").exists()


def test_of_epochs_with_the_same_metric_the_one_with_the_lower_loss_is_kept(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    lines: list[str] = []
    # Steps so small that they change the loss, but no label.
    run = fit(_request(tmp_path, bases["distilbert"], epochs=3, rate=1e-5), Reports(log=lines.append))
    assert run.best_epoch == 3
    assert sum("LoRA often needs a learning rate of 1e-4" in line for line in lines) == 1
    losses = (1.0, 0.9, 0.9)
    epochs = [{"epoch": i, "validation_loss": loss, "validation_accuracy": 0.5} for i, loss in enumerate(losses)]
    assert best_epoch(epochs, "accuracy")["epoch"] == best_epoch(epochs, "loss")["epoch"] == 1


@pytest.mark.parametrize(("method", "rate"), [("full", 1e-4), ("lora", 1e-3)])
def test_epochs_and_learning_rate_that_the_recipe_leaves_open(
    bases: dict[str, Path], tmp_path: Path, method: str, rate: float
) -> None:
    lines: list[str] = []
    request = _request(tmp_path, bases["distilbert"], method=method)
    # 32 rows to train on: 350 steps are 44 epochs with the first batch size, 11 with the second.
    for batch_size, epochs in ((4, 20), (1, 11)):
        training = dataclasses.replace(
            request.recipe.training, epochs=None, learning_rate=None, batch_size=batch_size, patience=1
        )
        recipe = dataclasses.replace(request.recipe, training=training)
        run = fit(dataclasses.replace(request, recipe=recipe, force=True), Reports(log=lines.append))
        assert run.learning_rate == rate
        assert any(f"learning rate {rate:g}, {epochs} epochs at most" in line for line in lines)


def test_epochs_that_the_recipe_leaves_open_count_the_rows_that_only_the_teacher_labels(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    request = _request(tmp_path, bases["distilbert"])
    fit(dataclasses.replace(request, recipe=_changed(request.recipe, epochs=1)), QUIET)
    teacher = Teacher((str((tmp_path / "run").rename(tmp_path / "teacher")),), alpha=0.5)
    rows = [[f"{text} {number}", ""] for number, (text, _) in enumerate(sentences(100))]
    data = write_csv(tmp_path / "more.csv", ["text", "class"], [*map(list, sentences(40)), *rows])
    open_recipe = dataclasses.replace(_changed(request.recipe, epochs=None, batch_size=4, patience=1), teacher=teacher)
    lines: list[str] = []
    fit(dataclasses.replace(request, recipe=open_recipe, data=data), Reports(log=lines.append))
    # 132 rows to train on: 350 steps are 11 epochs.
    assert any("11 epochs at most" in line for line in lines), lines


def test_a_training_that_diverges_is_one_error(bases: dict[str, Path], tmp_path: Path) -> None:
    request = _request(tmp_path, bases["distilbert"], epochs=1, method="full", rate=1e30)
    with pytest.raises(InputError, match=r"the training has diverged.*\n.*learning_rate"):
        fit(request, QUIET)
    with pytest.raises(RecipeError, match="epsilon"):
        recipe_from_dict({"name": "r", "labels": {"column": "c"}, "training": {"epsilon": 0}}, "r.toml")


def test_a_training_without_patience_left_resumes_to_its_end_from_another_folder(
    bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Steps so small that no epoch is better than the first one.
    request = _request(tmp_path, bases["distilbert"], epochs=9, rate=1e-12)
    request = dataclasses.replace(request, recipe=_changed(request.recipe, patience=2))
    whole = fit(dataclasses.replace(request, output=tmp_path / "whole"), QUIET)
    assert whole.epochs < 9
    (tmp_path / "elsewhere").mkdir()
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setattr("toxonnx.train.fit._finish", lambda *_: None)
        fit(dataclasses.replace(request, output=Path("run")), QUIET)
    monkeypatch.chdir(tmp_path / "elsewhere")
    resumed = fit(dataclasses.replace(request, output=Path("../run"), resume=True), QUIET)
    assert (resumed.epochs, resumed.best_epoch, resumed.metrics) == (whole.epochs, whole.best_epoch, whole.metrics)
    both = [load_trained(tmp_path / name).model.state_dict() for name in ("run", "whole")]
    assert all(torch.equal(weight, both[1][name]) for name, weight in both[0].items())


def _changed(recipe: Recipe, **training: Any) -> Recipe:
    """The recipe with other keys of ``[training]``."""
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, **training))


def test_interpolation_ends_between_the_base_and_the_trained_weights(bases: dict[str, Path], tmp_path: Path) -> None:
    first = _request(tmp_path, bases["distilbert"], epochs=1, method="full")
    fit(first, QUIET)
    base = (tmp_path / "run").rename(tmp_path / "base") / "checkpoint"

    def further(share: float, source: Path = base, **changes: Any) -> dict[str, torch.Tensor]:
        training = dataclasses.replace(first.recipe.training, interpolation=share)
        spec = dataclasses.replace(first.recipe, training=training, **changes)
        run = fit(dataclasses.replace(first, recipe=spec, base=str(source), force=True), QUIET)
        trained = load_trained(first.output)
        assert run.metrics["validation"]["loss"] == pytest.approx(_loss(trained, first.output), abs=1e-5)
        return dict(trained.model.state_dict())

    before, whole, mixed = load_model(str(base)).model.state_dict(), further(1.0), further(0.25)
    assert any(not torch.equal(before[name], whole[name]) for name in before)
    for name, weight in mixed.items():
        assert torch.allclose(weight, 0.75 * before[name] + 0.25 * whole[name], atol=1e-6), name
    # A new head, or one for other labels, is no point to start from.
    with pytest.raises(InputError, match="is not a classifier with the labels complaint, praise"):
        further(0.5, bases["distilbert"])
    renamed = dataclasses.replace(first.recipe.labels, names={"praise": "praise", "complaint": "complaint"})
    with pytest.raises(InputError, match="is not a classifier with the labels praise, complaint"):
        further(0.5, labels=renamed)
    with pytest.raises(RecipeError, match=r'training.interpolation needs model.method = "full"'):
        recipe_from_dict({"name": "r", "labels": {"column": "c"}, "training": {"interpolation": 0.5}}, "r.toml")


def _loss(trained: Trained, run: Path) -> float:
    """The loss on the validation rows of a run."""
    texts, y_true = load_saved_rows(run / "validation.csv", trained.labels)
    batch = trained.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits = trained.model(batch.input_ids, batch.attention_mask).logits
    return float(torch.nn.functional.cross_entropy(logits, torch.tensor(y_true)))


@pytest.mark.parametrize("method", ["full", "lora"])
def test_frozen_layers_keep_their_weights(bases: dict[str, Path], tmp_path: Path, method: str) -> None:
    request = _request(tmp_path, bases["distilbert"], epochs=1, method=method)
    frozen = dataclasses.replace(request.recipe.model, frozen_layers=1)
    fit(dataclasses.replace(request, recipe=dataclasses.replace(request.recipe, model=frozen)), QUIET)
    before = load_model(str(bases["distilbert"])).model.state_dict()
    after = load_trained(request.output).model.state_dict()
    changed = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    assert not [name for name in changed if ".embeddings." in name or ".layer.0." in name]
    assert [name for name in changed if ".layer.1." in name]

    def freeze(kind: str, layers: int) -> None:
        model = dataclasses.replace(request.recipe.model, frozen_layers=layers)
        recipe = dataclasses.replace(request.recipe, model=model)
        fit(dataclasses.replace(request, recipe=recipe, base=str(bases[kind]), force=True), QUIET)

    with pytest.raises(CheckpointError, match=r"frozen_layers is 4, but .* has 3 layers"):
        freeze("distilbert", 4)
    if method == "lora":
        with pytest.raises(InputError, match="frozen_layers leaves no layer for LoRA"):
            freeze("distilbert", 3)
    with pytest.raises(CheckpointError, match="the layers of 'albert' models cannot be frozen"):
        freeze("albert", 1)
