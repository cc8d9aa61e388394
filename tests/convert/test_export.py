"""Exports: agreement with PyTorch, limits, other tools."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import largest_file, recipe, sentences, toxonnx, write_csv
from optimum.onnxruntime import ORTModelForSequenceClassification
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from toxonnx import Classifier, RuntimeOptions
from toxonnx.bundle import Bundle, open_bundle
from toxonnx.convert.export import ExportRequest, export
from toxonnx.convert.verify import reference_logits
from toxonnx.errors import GateError, InputError, MachineError
from toxonnx.hub import write_hub_layout
from toxonnx.recipe import Export, LabelSpec, Recipe
from toxonnx.train.adapters import load_trained

TEXTS = [text for text, _ in sentences(60, 7)] + ["", "word " * 400, "Gr\u00fc\u00dfe \N{SNOWMAN}"]
#: random weights have arbitrary decisions, so these are not limited
_LABELS = LabelSpec(column="label", names={name: name for name in ("calm", "rude", "spam")})
LAX = Recipe("lax", _LABELS, max_length=128, export=Export(min_agreement=0.0))


def make_bundle(source: Path, output: Path, **options: Any) -> Bundle:
    return export(ExportRequest(source=source, output=output, **options), log=lambda _: None)


def test_every_precision_agrees_with_pytorch(bundles: dict[str, Path], run: Path) -> None:
    trained = load_trained(run)
    texts = [trained.text.clean(text) for text in TEXTS]
    expected = reference_logits(trained, texts)
    for precision, limit in (("fp32", 1e-4), ("int8", 0.2), ("fp16", 0.02)):
        logits = Classifier.load(bundles[precision]).logits(texts)
        assert np.abs(logits - expected).max() < limit, precision
        manifest = open_bundle(bundles[precision]).manifest
        assert manifest.precision == precision
        assert manifest.verification.agreement.label_agreement >= 0.97
        assert manifest.verification.agreement.rows_from == "the run's validation split"
        assert manifest.graph.last_layer_first_token_only is True
        assert manifest.graph.simplified is True


@pytest.mark.parametrize("kind", ["bert", "roberta", "albert", "deberta"])
def test_checkpoints_of_other_architectures(bases: dict[str, Path], tmp_path: Path, kind: str) -> None:
    names = {0: "calm", 1: "rude", 2: "spam"}
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(
        bases[kind], id2label=names, label2id={v: k for k, v in names.items()}
    )
    model.save_pretrained(tmp_path / "checkpoint")
    tokenizer = AutoTokenizer.from_pretrained(bases[kind])
    tokenizer.save_pretrained(tmp_path / "checkpoint")

    bundle = make_bundle(tmp_path / "checkpoint", tmp_path / "bundle", settings={"precision": "fp32"})
    manifest = bundle.manifest
    assert manifest.labels.names == ("calm", "rude", "spam")
    assert manifest.verification.agreement.labelled is False
    assert manifest.max_length == (128 if kind == "roberta" else 512)

    small = make_bundle(tmp_path / "checkpoint", tmp_path / "small", settings={"precision": "int8"}, recipe=LAX)
    layers = {"bert": 12, "roberta": 18, "albert": 13, "deberta": 12}[kind]
    assert small.manifest.graph.linear_layers_int8 >= layers
    batched, single = (Classifier(small, RuntimeOptions(max_batch_tokens=count)) for count in (4096, 1))
    assert (batched.logits(TEXTS) == single.logits(TEXTS)).all()
    with pytest.raises(InputError, match="max_length is 9999, but the checkpoint takes at most"):
        make_bundle(tmp_path / "checkpoint", tmp_path / "long", recipe=dataclasses.replace(LAX, max_length=9999))

    # The scores of transformers itself.
    model = model.eval()
    with torch.inference_mode():
        batch = tokenizer(TEXTS, padding=True, truncation=True, max_length=manifest.max_length, return_tensors="pt")
        expected = torch.softmax(model(**batch).logits, -1).numpy()
    scored = Classifier.load(tmp_path / "bundle").predict(TEXTS, top_k=None)
    for row, probs in zip(scored, expected, strict=True):
        assert [item["label"] for item in row] == [names[i] for i in np.argsort(-probs, kind="stable")]
        assert {item["label"]: item["score"] for item in row} == pytest.approx(
            dict(zip(names.values(), probs.tolist(), strict=True)), abs=1e-5
        )


def test_optimum_and_transformers_load_the_same_folder(bundles: dict[str, Path], tmp_path: Path) -> None:
    hub = write_hub_layout(open_bundle(bundles["int8"]), tmp_path / "hub")
    texts = [text for text, _ in sentences(20, 9)]
    for folder in (bundles["int8"], hub.path):
        theirs = pipeline(
            "text-classification",
            model=ORTModelForSequenceClassification.from_pretrained(folder),
            tokenizer=AutoTokenizer.from_pretrained(folder),
        )
        for one, other in zip(theirs(texts), Classifier.load(folder).predict(texts), strict=True):
            assert one["label"] == other["label"]
            assert one["score"] == pytest.approx(other["score"], abs=1e-4)


def test_nothing_is_sealed_over_a_limit(run: Path, tmp_path: Path) -> None:
    strict = tmp_path / "run"
    shutil.copytree(run, strict)
    table = json.loads((strict / "run.json").read_text())
    table["recipe"]["export"]["min_agreement"] = 1.01
    (strict / "run.json").write_text(json.dumps(table))
    message = r"not sealed: the exported model predicts the same label as PyTorch for .*limit 101\.00%"
    with pytest.raises(GateError, match=message):
        make_bundle(strict, tmp_path / "bundle")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]
    done = toxonnx("export", strict, "-o", tmp_path / "bundle")
    assert done.returncode == 1
    assert "not sealed" in done.stderr and "Traceback" not in done.stderr
    lenient = recipe(tmp_path / "lenient.toml", tail='\n[export]\nmin_agreement = 0.5\n[card]\nData = "Made up."\n')
    done = toxonnx("export", strict, "-o", tmp_path / "bundle", "--recipe", lenient)
    assert done.returncode == 0, done.stderr
    assert "## Data\n\nMade up.\n" in (tmp_path / "bundle" / "README.md").read_text()


def test_export_replaces_only_with_force(run: Path, bundles: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="already exists"):
        make_bundle(run, bundles["fp32"])


def test_a_full_disk_leaves_nothing(run: Path, tmp_path: Path) -> None:
    with largest_file(1_000_000), pytest.raises(MachineError, match=r"/bundle: the disk is full.*\n.*nothing was left"):
        make_bundle(run, tmp_path / "bundle", settings={"precision": "fp32"})
    assert not list(tmp_path.iterdir())


def test_verification_on_given_rows(bases: dict[str, Path], run: Path, tmp_path: Path) -> None:
    rows = write_csv(tmp_path / "mine.csv", ["comment", "kind"], [[text, label] for text, label in sentences(50, 4)])
    bundle = make_bundle(
        run,
        tmp_path / "bundle",
        settings={"precision": "fp32", "best_f1": True},
        data=rows,
        text_columns=("comment",),
        label_columns=("kind",),
    )
    assert bundle.manifest.verification.agreement.rows == 50
    assert bundle.manifest.verification.agreement.rows_from == "mine.csv"
    assert bundle.manifest.verification.agreement.metrics["final"]["accuracy"] > 0.9
    reference, classifier = bundle.manifest.verification.reference, Classifier.load(tmp_path / "bundle")
    texts = [text for text, _ in sentences(50, 4)]
    shares = classifier.score(texts).decisions.mean(axis=0)
    assert list(reference.label_shares.values()) == pytest.approx(shares.tolist())
    lengths = [int(classifier.preprocess.tokenizer([text]).lengths[0]) for text in texts]
    assert reference.mean_tokens == pytest.approx(sum(lengths) / 50)
    wrong = write_csv(tmp_path / "wrong.csv", ["comment", "kind"], [["a soup", "praise"], ["a coat", "neither"]])
    with pytest.raises(
        InputError, match=r"wrong\.csv, line 3: .* must contain one of complaint, praise, got 'neither'"
    ):
        make_bundle(run, tmp_path / "b2", data=wrong, text_columns=("comment",), label_columns=("kind",))


def test_multi_label_models(bases: dict[str, Path], tmp_path: Path) -> None:
    rows = [[text, int(label == "complaint"), int("soup" in text)] for text, label in sentences(200, 5)]
    data = write_csv(tmp_path / "multi.csv", ["text", "rude", "food"], rows)
    path = recipe(tmp_path / "multi.toml", method="full", epochs=4, rate=1e-3)
    path.write_text(path.read_text().replace('column = "class"', 'columns = ["rude", "food"]'))
    done = toxonnx("train", data, "--recipe", path, "--base", bases["bert"], "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    bundle = make_bundle(tmp_path / "run", tmp_path / "bundle")
    assert bundle.manifest.labels.activation == "sigmoid"
    assert bundle.manifest.verification.agreement.metrics["final"]["macro_f1"] > 0.8
    done = toxonnx("predict", data, "--bundle", tmp_path / "bundle", "--prefix", "predicted_")
    header, *scored = csv.reader(done.stdout.splitlines())
    assert header[3:] == ["predicted_label", "predicted_score", "predicted_rude", "predicted_food"]
    assert {row[3] for row in scored} >= {"rude", "food"}
    for row in scored:
        predicted = [name for name, share in zip(("rude", "food"), row[5:], strict=True) if float(share) >= 0.5]
        assert row[3] == "|".join(predicted)
        assert float(row[4]) == max(map(float, row[5:]))


def test_the_reading_options_apply_to_the_cases_of_a_suite(tmp_path: Path) -> None:
    cases = tmp_path / "cases.csv"
    cases.write_bytes(
        "case_id;functionality;test_case;label_gold;target_ident\n"
        "1;derog_neg_emote_h;Gr\u00fc\u00dfe;hateful;women\n".encode("cp1252")
    )
    command = (
        "export", tmp_path / "nowhere", "-o", tmp_path / "bundle", "--suite", "hatecheck", "--cases", cases,
        "--positive-labels", "rude",
    )  # fmt: skip
    assert "cases.csv" in toxonnx(*command).stderr
    done = toxonnx(*command, "--encoding", "cp1252", "--delimiter", ";")
    assert done.returncode == 2 and "cases.csv" not in done.stderr and "nowhere" in done.stderr
