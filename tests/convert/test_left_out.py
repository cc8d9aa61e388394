"""Exports without some labels of a multi-label model."""

from __future__ import annotations

import copy
import csv
import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import make_checkpoint
from helpers import recipe, sentences, toxonnx, write_csv

from toxonnx import Classifier
from toxonnx.bundle import Bundle, open_bundle
from toxonnx.convert.export import ExportRequest, export
from toxonnx.errors import CheckpointError, InputError
from toxonnx.inference.self_test import run_self_test
from toxonnx.labels import Labels
from toxonnx.train.adapters import load_trained

NAMES = ("rude", "threat", "food")
TEXTS = [text for text, _ in sentences(60, 7)] + ["", "Gr\u00fc\u00dfe \N{SNOWMAN}"]
MULTI = {"names": NAMES, "problem_type": "multi_label_classification"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("multi") / "checkpoint", **MULTI)


@pytest.fixture(scope="module")
def trained_run(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three labels. In some rows, only the second one was judged."""
    folder = tmp_path_factory.mktemp("left_out")
    rows: list[list[object]] = []
    for number, (text, label) in enumerate(sentences(500, 5)):
        rude, food = (int(label == "complaint"), int("soup" in text)) if number % 10 else ("", "")
        rows.append([text, rude, int("train" in text), food])
    data = write_csv(folder / "rows.csv", ["text", *NAMES], rows)
    path = recipe(folder / "multi.toml", method="full", epochs=4, rate=1e-3)
    settings = (
        path.read_text().replace('column = "class"', f"columns = {list(NAMES)}").replace("0.2", "0.2\ntest = 0.2")
    )
    path.write_text(settings + '[labels.descriptions]\nrude = "Impolite."\nthreat = "Announces harm."\n')
    done = toxonnx("train", data, "--recipe", path, "--base", bases["bert"], "-o", folder / "run")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def _export(source: Path, output: Path, *leave_out: str, **settings: Any) -> Bundle:
    settings = {"precision": "fp32", "calibrate": False, "leave_out": leave_out, **settings}
    request = ExportRequest(source=source, output=output, settings=settings, allow_worse_than_baseline=True)
    return export(request, log=lambda _: None)


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        (["--leave-out", "theat"], "leave_out: the model has no label theat", "Its labels are rude, threat, food."),
        (
            [part for name in NAMES for part in ("--leave-out", name)],
            "leave_out names all labels of the model",
            "Keep one or more of them.",
        ),
        (
            ["--leave-out", "threat", "--target-precision", "0.8,threat=0.9"],
            "export.target_precision names threat, a label that the export leaves out",
            "Remove the label there, or from leave_out (--leave-out).",
        ),
        (["--leave-out", "threat", "--cascade", "0.9,threat=0.5"], "export.cascade names threat", "Remove the label"),
        (
            ["--leave-out", "threat", "--suite", "hatecheck", "--positive-labels", "rude,threat", "--cases", "CASES"],
            "--positive-labels names threat",
            "Remove the label",
        ),
        (
            ["--leave-out", "threat", "--recipe", "RECIPE", "--max-length", "64"],
            "labels.mappings.perspective.THREAT names threat",
            "Remove the label",
        ),
    ],
)
def test_what_cannot_be_left_out(checkpoint: Path, tmp_path: Path, given: list[str], message: str, hint: str) -> None:
    mapping = '[labels.mappings.perspective]\nTHREAT = "threat"\n'
    path = recipe(tmp_path / "mapped.toml", tail=mapping)
    path.write_text(path.read_text().replace('column = "class"', f"columns = {list(NAMES)}"))
    files = {"CASES": _cases(tmp_path / "cases.csv"), "RECIPE": path}
    done = toxonnx("export", checkpoint, "-o", tmp_path / "bundle", *(files.get(one, one) for one in given))
    assert done.returncode == 2 and not (tmp_path / "bundle").exists()
    assert message in done.stderr and hint in done.stderr and "Traceback" not in done.stderr


def test_a_class_of_a_single_label_model_cannot_be_left_out(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "checkpoint")
    with pytest.raises(InputError, match=r"leave_out: only a multi-label model .* the probabilities of the others"):
        _export(tmp_path / "checkpoint", tmp_path / "bundle", "spam")


def test_a_head_that_is_more_than_a_linear_layer_is_refused(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = load_trained(checkpoint)
    model = copy.deepcopy(trained.model)
    model.classifier = torch.nn.Sequential(model.classifier, torch.nn.Softmax(-1))
    unusual = dataclasses.replace(trained, model=model)
    monkeypatch.setattr("toxonnx.convert.export.load_trained", lambda *_, **__: unusual)
    with pytest.raises(CheckpointError, match=r"no label can be left out of this bert classifier"):
        _export(checkpoint, tmp_path / "bundle", "threat")


@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2"])
def test_the_logits_of_the_others_stay_as_they_are(tmp_path: Path, kind: str) -> None:
    source = make_checkpoint(tmp_path / "checkpoint", kind, **MULTI)
    every = Classifier(_export(source, tmp_path / "every")).logits(TEXTS)
    for left_out, kept in ((("threat",), [0, 2]), (("threat", "rude"), [2])):
        bundle = _export(source, tmp_path / "-".join(left_out), *left_out)
        assert bundle.manifest.labels == Labels(tuple(NAMES[i] for i in kept), "sigmoid")
        assert np.abs(Classifier(bundle).logits(TEXTS) - every[:, kept]).max() < 1e-5
        tested = run_self_test(Classifier(bundle))
        assert tested.passed and tested.compared_with == "the exported model"
        assert tested.largest_probability_difference < 1e-6


def test_a_bundle_speaks_only_about_the_labels_that_it_has(trained_run: Path, tmp_path: Path) -> None:
    every = _export(trained_run, tmp_path / "every")
    texts = write_csv(tmp_path / "texts.csv", ["text"], [[text] for text, _ in sentences(900, 8)])
    output = tmp_path / "bundle"
    done = toxonnx(
        "export", trained_run, "-o", output, "--leave-out", "threat", "--precision", "fp32", "--no-calibration",
        "--best-f1", "--allow-worse-than-baseline", "--cascade", "0.9,food=0.5", "--cascade-data", texts,
        "--suite", "hatecheck", "--cases", _cases(tmp_path / "cases.csv"), "--positive-labels", "rude",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "note: the export leaves out threat\n" in done.stderr
    bundle = open_bundle(output)
    manifest = bundle.manifest
    plain = manifest.to_dict()
    assert plain.pop("left_out_labels") == ["threat"]
    assert "threat" not in json.dumps({**plain, "evaluation": {**plain["evaluation"], "suite": None}})
    assert manifest.label_descriptions == {"rude": "Impolite."} and manifest.training.labels["columns"] == [
        "rude",
        "food",
    ]
    assert set(manifest.decisions.curves) == set(manifest.cascade.recall) == {"rude", "food"}
    tfidf = [one.training.baselines["test"]["tfidf"] for one in (every.manifest, manifest)]
    assert tfidf[1]["macro_f1"] == pytest.approx((tfidf[0]["f1 of rude"] + tfidf[0]["f1 of food"]) / 2)
    assert "accuracy" not in tfidf[1] and tfidf[0]["macro_f1"] != tfidf[1]["macro_f1"]
    config = json.loads((output / "config.json").read_text())
    assert config["id2label"] == {"0": "rude", "1": "food"} and config["label2id"] == {"rude": 0, "food": 1}
    lines = (output / "README.md").read_text().splitlines()
    assert "The model was also trained on labels that are left out here: `threat`." in lines
    assert _info_has("left out", "threat", toxonnx("info", output).stdout)

    # The metrics of a label do not depend on the others.
    per_class = [one.verification.test.metrics["final"]["per_class"] for one in (every.manifest, manifest)]
    assert per_class[1] == {name: per_class[0][name] for name in ("rude", "food")}
    scores = [Classifier(one).score(TEXTS).logits for one in (every, bundle)]
    full = ~Classifier(bundle).score(TEXTS).early
    assert np.abs(scores[1] - scores[0][:, [0, 2]])[full].max() < 1e-4

    done = toxonnx("predict", texts, "--bundle", output)
    header, *_ = csv.reader(done.stdout.splitlines())
    assert header == ["text", "label", "score", "rude", "food"]


def test_rows_of_a_file_with_all_labels(trained_run: Path, tmp_path: Path) -> None:
    data = trained_run.parent / "rows.csv"
    given = ["--data", data, "--precision", "fp32", "--leave-out", "threat", "--allow-worse-than-baseline"]
    columns = [part for name in NAMES for part in ("--label-column", name)]
    done = toxonnx("export", trained_run, "-o", tmp_path / "all", *given, *columns)
    assert done.returncode == 0, done.stderr
    done = toxonnx("export", trained_run, "-o", tmp_path / "none", *given, "--label-column", "threat")
    assert done.returncode == 2
    assert "rows.csv: in no row was one of the labels judged that the export keeps" in done.stderr


def test_the_option_replaces_the_list_of_the_recipe(trained_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    table = json.loads((run / "run.json").read_text())
    table["recipe"]["export"]["leave_out"] = ["threat"]
    (run / "run.json").write_text(json.dumps(table))
    for given, names in (([], ("rude", "food")), (["--leave-out", "food"], ("rude", "threat"))):
        output = tmp_path / names[1]
        done = toxonnx("export", run, "-o", output, "--allow-worse-than-baseline", *given)  # int8, calibrated
        assert done.returncode == 0, done.stderr
        manifest = open_bundle(output).manifest
        assert manifest.labels.names == tuple(manifest.decisions.calibration) == names


def test_without_a_label_it_is_compared_by_macro_f1(trained_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    table = json.loads((run / "run.json").read_text())
    table["recipe"]["training"]["metric"] = "accuracy"  # which is not known of TF-IDF without the label
    for of_part in table["baselines"].values():
        of_part["tfidf"].update({key: 1.0 for key in of_part["tfidf"] if key.startswith("f1 of ")})
    (run / "run.json").write_text(json.dumps(table))
    done = toxonnx("export", run, "-o", tmp_path / "bundle", "--leave-out", "threat", "--precision", "fp32")
    assert done.returncode == 1 and not (tmp_path / "bundle").exists()
    assert re.search(r"not sealed: macro F1 .* is below the TF-IDF baseline \(1\.0000\)", done.stderr)


def _info_has(name: str, value: str, output: str) -> bool:
    """Whether a line of ``info`` has this name and value."""
    return any(line.split() == [*name.split(), value] for line in output.splitlines())


def _cases(path: Path) -> Path:
    header = ["functionality", "test_case", "label_gold", "target_ident"]
    return write_csv(path, header, [["derog_neg_emote_h", "that soup is awful", "hateful", ""]])
