"""Training with a teacher."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from helpers import recipe, sentences, write_csv

from toxonnx.bundle import sha256
from toxonnx.data.fingerprints import hashes, load_fingerprints
from toxonnx.errors import InputError
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.scores import probabilities
from toxonnx.labels import Labels
from toxonnx.recipe import DataFile
from toxonnx.recipe_files import load_recipe
from toxonnx.train import teacher as module
from toxonnx.train.adapters import load_trained
from toxonnx.train.fit import TrainRequest, fit
from toxonnx.train.teacher import save_logits, score_with_teacher
from toxonnx.train.torch_scorer import TorchScorer
from toxonnx.train.trainer import Reports

TEACHER = """
[teacher]
models = ["{models}"]
alpha = 0.9
temperature = 2.0
"""


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_student_learns_from_unlabelled_rows(
    run: Path, bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled = write_csv(tmp_path / "few.csv", ["text", "class"], [list(row) for row in sentences(20, 5)])
    texts = [[text] for text, _ in sentences(160, 6)]
    unlabelled = write_csv(tmp_path / "many.csv", ["text"], [*texts, *([text] for text, _ in sentences(20, 5))])
    spec = recipe(tmp_path / "r.toml", epochs=4, tail=TEACHER.format(models=run))
    loaded = load_recipe(spec)
    loaded = dataclasses.replace(
        loaded, data=(DataFile(), DataFile(path=str(unlabelled), licence="CC0", fingerprints=False))
    )
    request = TrainRequest(recipe=loaded, data=labelled, output=tmp_path / "run", base=str(bases["distilbert"]))
    lines: list[str] = []
    student = fit(request, Reports(log=lines.append))
    held_out = student.split["validation"]
    # The texts that are held out are left out of the unlabelled rows.
    assert any(f"{180 - held_out} rows without a label, for the teacher" in line for line in lines), lines
    assert list(student.teacher) == ["run"] and set(student.sources) == {"few", "many"}
    assert student.sources["many"].licence == "CC0" and not student.sources["many"].metrics
    assert student.sources["few"].metrics["validation"] == student.metrics["validation"]
    # Texts of a source without fingerprints are not remembered, the others are.
    with (tmp_path / "run" / "validation.csv").open(newline="") as file:
        known = {text for text, _ in sentences(20, 5)} - {row["text"] for row in csv.DictReader(file)}
    assert set(load_fingerprints(tmp_path / "run" / "training_texts.npy")) == set(hashes(known))
    # A word decides the class; 16 labelled rows do not show all of these words, the teacher knows them.
    others = sentences(60, 9)
    texts_of_others, classes = [text for text, _ in others], [label for _, label in others]
    trained = load_trained(tmp_path / "run")
    batch = trained.tokenizer(texts_of_others, padding=True, return_tensors="pt")
    found = trained.model(batch.input_ids, batch.attention_mask).logits.argmax(-1).tolist()
    assert np.mean([trained.labels.names[i] == label for i, label in zip(found, classes, strict=True)]) > 0.85
    # Nothing is scored a second time.
    monkeypatch.setattr(TorchScorer, "score", lambda *_: pytest.fail("scored again"))
    again = score_with_teacher([str(run)], [text for (text,) in texts], trained.labels)
    assert again.models == student.teacher and again.logits.shape == (160, 2)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["teacher"] == student.teacher


def test_a_student_learns_variants_of_what_its_teacher_reads(
    run: Path, bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[str] = set()
    score = TorchScorer.score
    monkeypatch.setattr(TorchScorer, "score", lambda self, texts: read.update(texts) or score(self, texts))
    labelled = [[text, label, ""] for text, label in sentences(20, 5)]
    variants = [[text.replace("was", "w a s"), "", text] for text, _ in sentences(160, 6)]
    data = write_csv(tmp_path / "rows.csv", ["text", "class", "original"], [*labelled, *variants])
    tail = TEACHER.format(models=run) + 'text_column = "original"\n'
    loaded = load_recipe(recipe(tmp_path / "r.toml", epochs=6, tail=tail))
    fit(TrainRequest(recipe=loaded, data=data, output=tmp_path / "run", base=str(bases["distilbert"])), Reports())
    assert read == {text for _, _, text in variants}
    others = sentences(60, 9)
    trained = load_trained(tmp_path / "run")
    batch = trained.tokenizer([text.replace("was", "w a s") for text, _ in others], padding=True, return_tensors="pt")
    found = trained.model(batch.input_ids, batch.attention_mask).logits.argmax(-1).tolist()
    assert np.mean([trained.labels.names[i] == label for i, (_, label) in zip(found, others, strict=True)]) > 0.85


def test_a_bundle_teaches_its_calibrated_logits(bundles: dict[str, Path]) -> None:
    texts = [text for text, _ in sentences(40, 4)]
    for bundle in (bundles["fp32"], bundles["int8"]):
        classifier = Classifier.load(bundle)
        teacher = score_with_teacher([str(bundle)], texts, classifier.labels)
        shares = probabilities(teacher.logits, dataclasses.replace(classifier.labels, temperature=1.0))
        assert np.allclose(shares, classifier.score(texts).probabilities, atol=1e-6)
        assert list(teacher.models) == [bundle.name]


def test_a_file_of_the_cache_teaches_in_place_of_its_model(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [text for text, _ in sentences(30, 4)]
    labels = load_trained(run).labels
    by_model = score_with_teacher([str(run)], texts, labels)
    (written,) = (tmp_path / "cache").rglob("*.safetensors")
    file = written.rename(tmp_path / "scores.safetensors")
    by_file = score_with_teacher([str(file)], ["", *texts[::-1]], Labels(labels.names[::-1]))
    assert np.array_equal(by_file.logits[:0:-1, ::-1], by_model.logits)
    assert by_file.models == {"scores.safetensors": sha256(file)}
    half = by_model.logits.astype(np.float16)
    save_logits(tmp_path / "half.safetensors", texts[::-1], half[::-1], labels)
    by_half = score_with_teacher([str(tmp_path / "half.safetensors")], texts, labels)
    assert np.array_equal(by_half.logits, half.astype(np.float32))
    with pytest.raises(InputError, match=r"scores\.safetensors has no logits of 2 texts\n.*normalised in the same way"):
        monkeypatch.setattr(module, "CHUNK", 1)
        score_with_teacher([str(file)], [*texts, "another", "and one more"], labels)
    with pytest.raises(InputError, match="has the labels complaint, praise"):
        score_with_teacher([str(file)], texts, Labels(("a", "b")))
    file.write_bytes(file.read_bytes()[:-1])
    for damaged in (file, tmp_path / "nothing.safetensors"):
        with pytest.raises(InputError, match=f"{damaged} is missing or damaged, or not a file of logits"):
            score_with_teacher([str(damaged)], texts, labels)


def test_a_run_is_kept_when_the_teacher_of_the_next_does_not_load(bases: dict[str, Path], tmp_path: Path) -> None:
    data = write_csv(tmp_path / "rows.csv", ["text", "class"], [list(row) for row in sentences(40, 5)])
    spec = recipe(tmp_path / "r.toml", epochs=1, tail=TEACHER.format(models="scores.safetensors"))
    base, output = str(bases["distilbert"]), tmp_path / "run"
    request = TrainRequest(recipe=load_recipe(spec), data=data, output=output, base=base)
    with pytest.raises(InputError, match=r"the teacher scores\.safetensors is missing"):
        fit(request)
    assert not request.output.exists()
    request.output.mkdir()
    (request.output / "run.json").write_text("{}")
    with pytest.raises(InputError, match=r"the teacher scores\.safetensors is missing"):
        fit(dataclasses.replace(request, force=True))
    assert (request.output / "run.json").read_text() == "{}"


def test_the_logits_of_several_models_are_averaged_in_the_order_of_the_labels(
    run: Path, bases: dict[str, Path], tmp_path: Path
) -> None:
    texts = [text for text, _ in sentences(70, 3)]
    labels = Labels(("complaint", "praise"))
    one = score_with_teacher([str(run)], texts, labels).logits
    assert np.array_equal(score_with_teacher([str(run), str(run)], texts, labels).logits, one)
    swapped = score_with_teacher([str(run)], texts[:5], Labels(("praise", "complaint"))).logits
    assert np.array_equal(swapped, one[:5, ::-1])
    assert np.isnan(score_with_teacher([str(run)], ["", texts[0]], labels).logits).tolist() == [[True] * 2, [False] * 2]
    for file in (tmp_path / "cache").rglob("*.safetensors"):
        file.write_bytes(b"damaged")
    assert np.allclose(score_with_teacher([str(run)], texts, labels).logits, one, atol=1e-5)
    with pytest.raises(InputError, match=r"has the labels complaint, praise\nIt needs those of the recipe: a, b"):
        score_with_teacher([str(run)], texts, Labels(("a", "b")))
