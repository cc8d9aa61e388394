"""Training and export: what a run leaves, what a bundle proves, what is refused."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from helpers import recipe, sentences, toxonnx, write_csv
from onnx import TensorProto, helper, numpy_helper
from peft import LoraConfig, TaskType, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from toxonnx import Classifier
from toxonnx.bundle import open_bundle
from toxonnx.convert.export import export
from toxonnx.convert.verify import reference_logits
from toxonnx.errors import CheckpointError, GateError, InputError
from toxonnx.recipe import Export, LabelSpec, Recipe
from toxonnx.train.adapters import load_trained

TEXTS = [text for text, _ in sentences(60, 7)] + ["", "word " * 400, "Gr\u00fc\u00dfe \N{SNOWMAN}"]


#: random weights decide nothing, so their decisions are held to nothing
LAX = Recipe("lax", LabelSpec(column="label", names={name: name for name in ("calm", "rude", "spam")}))
LAX = dataclasses.replace(LAX, max_length=128, export=Export(min_agreement=0.0))


def quiet(_: str) -> None:
    """Says nothing."""


def test_a_run_leaves_what_it_should(run: Path) -> None:
    screen = (run.parent / "screen.txt").read_text()
    assert re.search(r"\d+ rows repeat another's text; kept on one side \(\d+ would have leaked", screen)
    assert "epoch  training loss  validation loss  accuracy  macro F1" in screen
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    table = json.loads((run / "run.json").read_text())
    assert table["labels"] == ["complaint", "praise"]
    assert table["split"]["leaking"] == 0
    # It learnt: a word decides the class, and the metrics on the held-out rows show it.
    assert table["metrics"]["validation"]["macro_f1"] > 0.9
    best = max(lines, key=lambda line: line["validation_macro_f1"])
    assert table["metrics"]["validation"]["macro_f1"] == pytest.approx(best["validation_macro_f1"])
    assert not (run / "checkpoints").exists()


def test_every_precision_agrees_with_pytorch(bundles: dict[str, Path], run: Path) -> None:
    trained = load_trained(run)
    texts = [trained.text.clean(text) for text in TEXTS]
    expected = reference_logits(trained, texts)
    for precision, limit in (("fp32", 1e-4), ("int8", 0.2), ("fp16", 0.02)):
        logits = Classifier.load(bundles[precision]).logits(texts)
        assert np.abs(logits - expected).max() < limit, precision
        manifest = open_bundle(bundles[precision]).manifest
        assert manifest.precision == precision
        assert manifest.verification["label_agreement"] >= 0.97
        assert manifest.verification["rows_from"] == "the run's validation split"
        assert manifest.graph["last_layer_first_token_only"] is True
        assert manifest.graph["simplified"] is True


def test_smoothing_saves_what_outliers_cost(tmp_path: Path) -> None:
    from toxonnx.convert.int8 import quantize
    from toxonnx.inference.session import Session

    rng = np.random.default_rng(0)
    table = rng.normal(size=(64, 32)).astype(np.float32)
    table[:, 3] *= 60  # as BERT's hidden states have them
    weights = {"table": table, "w": rng.normal(size=(32, 5)).astype(np.float32), "b": rng.normal(size=5)}
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["input_ids", "attention_mask"], ["seen"]),
            helper.make_node("Gather", ["table", "seen"], ["hidden"]),
            helper.make_node("MatMul", ["hidden", "w"], ["product"]),
            helper.make_node("Add", ["product", "b"], ["logits"]),
        ],
        "linear",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["r", "t"]) for n in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["r", "t", 5])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    exact = tmp_path / "exact.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), exact)
    ids = np.arange(64, dtype=np.int64)[None]
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    expected = Session(exact, 5).run(feed)
    lost = {}
    for smoothing in (0.0, 0.8):
        path = tmp_path / f"{smoothing}.onnx"
        assert quantize(exact, path, [feed], smoothing=smoothing, reduce_range=True) == 1
        lost[smoothing] = np.abs(Session(path, 5).run(feed) - expected).mean()
    assert lost[0.8] < lost[0.0] / 4


def test_a_matrix_that_serves_two_layers_and_a_product_without_bias(tmp_path: Path) -> None:
    from toxonnx.convert.int8 import quantize
    from toxonnx.inference.session import Session

    rng = np.random.default_rng(1)
    weights = {
        "table": rng.normal(size=(200, 16)), "w": rng.normal(size=(16, 16)) / 4, "b": rng.normal(size=(1, 16)),
        "head": rng.normal(size=(16, 3)), "c": rng.normal(size=3),
    }  # fmt: skip
    nodes = [
        ("Mul", ["input_ids", "attention_mask"], "seen"),
        ("Gather", ["table", "seen"], "hidden"),  # an embedding that a product reads at once
        ("MatMul", ["hidden", "w"], "once"),
        ("Add", ["b", "once"], "shifted"),  # no plain bias
        ("Tanh", ["shifted"], "bounded"),
        ("MatMul", ["bounded", "w"], "twice"),
        ("Add", ["twice", "twice"], "doubled"),
        ("MatMul", ["doubled", "head"], "product"),
        ("Add", ["c", "product"], "logits"),
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [out]) for kind, inputs, out in nodes], "shared",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["r", "t"]) for n in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["r", "t", 3])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )  # fmt: skip
    exact, small = tmp_path / "exact.onnx", tmp_path / "int8.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), exact)
    ids = np.arange(200, dtype=np.int64)[None]
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    assert quantize(exact, small, [feed], smoothing=0.8, reduce_range=True) == 3
    expected, found = (Session(path, 3).run(feed) for path in (exact, small))
    assert np.abs(found - expected).mean() < 0.03 * np.abs(expected).mean()


@pytest.mark.parametrize("kind", ["bert", "roberta", "albert", "deberta"])
def test_checkpoints_from_elsewhere(bases: dict[str, Path], tmp_path: Path, kind: str) -> None:
    names = {0: "calm", 1: "rude", 2: "spam"}
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(
        bases[kind], id2label=names, label2id={v: k for k, v in names.items()}
    )
    model.save_pretrained(tmp_path / "checkpoint")
    tokenizer = AutoTokenizer.from_pretrained(bases[kind])
    tokenizer.save_pretrained(tmp_path / "checkpoint")

    bundle = export(tmp_path / "checkpoint", tmp_path / "bundle", settings={"precision": "fp32"}, log=quiet)
    manifest = bundle.manifest
    assert manifest.labels.names == ("calm", "rude", "spam")
    assert manifest.verification["labelled"] is False
    assert manifest.max_length == (128 if kind == "roberta" else 512)

    small = export(tmp_path / "checkpoint", tmp_path / "small", settings={"precision": "int8"}, recipe=LAX, log=quiet)
    layers = {"bert": 12, "roberta": 18, "albert": 13, "deberta": 12}[kind]
    assert small.manifest.graph["linear_layers_int8"] >= layers
    together, alone = Classifier(small, max_batch_tokens=4096), Classifier(small, max_batch_tokens=1)
    assert (together.logits(TEXTS) == alone.logits(TEXTS)).all()
    with pytest.raises(InputError, match="max_length 9999 is over what the checkpoint takes"):
        export(tmp_path / "checkpoint", tmp_path / "long", recipe=dataclasses.replace(LAX, max_length=9999), log=quiet)

    # As transformers itself would score them.
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


def test_optimum_and_a_pipeline_load_the_same_folder(bundles: dict[str, Path]) -> None:
    from optimum.onnxruntime import ORTModelForSequenceClassification
    from transformers import pipeline

    theirs = pipeline(
        "text-classification",
        model=ORTModelForSequenceClassification.from_pretrained(bundles["int8"]),
        tokenizer=AutoTokenizer.from_pretrained(bundles["int8"]),
    )
    texts = [text for text, _ in sentences(20, 9)]
    for one, other in zip(theirs(texts), Classifier.load(bundles["int8"]).predict(texts), strict=True):
        assert one["label"] == other["label"]
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)


def _adapter(
    base: Path, folder: Path, save: list[str], targets: list[str], task: TaskType | None = TaskType.SEQ_CLS
) -> Path:
    """An adapter as somebody else's script would leave it, its LoRA weights made to matter."""
    torch.manual_seed(2)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
    config = LoraConfig(task_type=task, r=4, lora_alpha=8, target_modules=targets, modules_to_save=save or None)
    adapted = get_peft_model(model, config)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted.save_pretrained(folder)
    return folder


def test_an_adapter_of_others_is_merged(bases: dict[str, Path], tmp_path: Path) -> None:
    folder = _adapter(bases["distilbert"], tmp_path / "adapter", ["pre_classifier", "classifier"], ["q_lin", "v_lin"])
    with pytest.raises(CheckpointError, match="head of 3 labels and no config"):
        load_trained(folder, base=str(bases["distilbert"]))
    with pytest.raises(CheckpointError, match="2 label names given"):
        load_trained(folder, base=str(bases["distilbert"]), labels=("a", "b"))
    trained = load_trained(folder, base=str(bases["distilbert"]), labels=("a", "b", "c"))
    assert trained.source["adapter"]["layers"] == 6
    assert trained.source["merge_largest_logit_difference"] < 1e-5
    weights = load_file(folder / "adapter_model.safetensors")
    head = trained.model.state_dict()["classifier.weight"]
    assert torch.equal(head, weights["base_model.model.classifier.weight"])


def test_labels_that_have_names_are_not_renamed(run: Path) -> None:
    with pytest.raises(CheckpointError, match="have names, in this order: complaint, praise"):
        load_trained(run, labels=("praise", "complaint"))
    assert load_trained(run, labels=("complaint", "praise")).labels.names == ("complaint", "praise")


def test_an_adapter_without_a_head_is_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    # Made without a task type: PEFT then saves no head, and what it was trained with is lost.
    folder = _adapter(bases["distilbert"], tmp_path / "adapter", [], ["q_lin", "v_lin"], task=None)
    with pytest.raises(CheckpointError, match=r"holds classifier\.bias, .*which would be random"):
        load_trained(folder, base=str(bases["distilbert"]))


def test_adapters_that_match_nothing_are_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    folder = _adapter(bases["distilbert"], tmp_path / "adapter", ["pre_classifier", "classifier"], ["q_lin", "v_lin"])
    with pytest.raises(CheckpointError, match="does not fit the base"):
        load_trained(folder, base=str(bases["bert"]), labels=("a", "b", "c"))
    weights = load_file(folder / "adapter_model.safetensors")
    lost = {key: value for key, value in weights.items() if ".layer.1." not in key}
    save_file(lost, folder / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match="is in no file"):
        load_trained(folder, base=str(bases["distilbert"]), labels=("a", "b", "c"))
    bare = {key: value for key, value in weights.items() if "lora" not in key}
    save_file(bare, folder / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match="holds no LoRA weights"):
        load_trained(folder, base=str(bases["distilbert"]), labels=("a", "b", "c"))


def test_a_checkpoint_without_a_head_is_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"lacks weights, which would be random: classifier\.bias"):
        load_trained(bases["bert"])
    with pytest.raises(CheckpointError, match="neither a run, an adapter nor a checkpoint"):
        load_trained(tmp_path)


def test_pickled_weights_are_not_read(bases: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(bases["bert"], tmp_path / "bin")
    torch.save(load_file(tmp_path / "bin" / "model.safetensors"), tmp_path / "bin" / "pytorch_model.bin")
    (tmp_path / "bin" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="does not load as a sequence classifier"):
        load_trained(tmp_path / "bin")


def test_over_a_limit_nothing_is_sealed(run: Path, tmp_path: Path) -> None:
    strict = tmp_path / "run"
    shutil.copytree(run, strict)
    table = json.loads((strict / "run.json").read_text())
    table["recipe"]["export"]["min_agreement"] = 1.01
    (strict / "run.json").write_text(json.dumps(table))
    with pytest.raises(GateError, match=r"not sealed: the final model chooses PyTorch's label on .*limit 101\.00%"):
        export(strict, tmp_path / "bundle", log=quiet)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]
    done = toxonnx("export", strict, "-o", tmp_path / "bundle")
    assert done.returncode == 1
    assert "not sealed" in done.stderr and "Traceback" not in done.stderr
    lenient = recipe(tmp_path / "lenient.toml", tail='\n[export]\nmin_agreement = 0.5\n[card]\nData = "Made up."\n')
    done = toxonnx("export", strict, "-o", tmp_path / "bundle", "--recipe", lenient)
    assert done.returncode == 0, done.stderr
    assert "## Data\n\nMade up.\n" in (tmp_path / "bundle" / "README.md").read_text()


def test_export_does_not_replace_by_itself(run: Path, bundles: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="exists already"):
        export(run, bundles["fp32"], log=quiet)


def test_verifying_on_rows_of_ones_own(bases: dict[str, Path], run: Path, tmp_path: Path) -> None:
    rows = write_csv(tmp_path / "mine.csv", ["comment", "kind"], [[text, label] for text, label in sentences(50, 4)])
    bundle = export(
        run,
        tmp_path / "bundle",
        settings={"precision": "fp32"},
        data=rows,
        text=("comment",),
        label=("kind",),
        log=quiet,
    )
    assert bundle.manifest.verification["rows"] == 50
    assert bundle.manifest.verification["rows_from"] == "mine.csv"
    assert bundle.manifest.verification["metrics"]["final"]["accuracy"] > 0.9
    wrong = write_csv(tmp_path / "wrong.csv", ["comment", "kind"], [["a soup", "praise"], ["a coat", "neither"]])
    with pytest.raises(InputError, match=r"wrong\.csv, line 3: label 'neither' is not one of the model's"):
        export(run, tmp_path / "b2", data=wrong, text=("comment",), label=("kind",), log=quiet)


def test_several_labels_a_text(bases: dict[str, Path], tmp_path: Path) -> None:
    rows = [[text, int(label == "complaint"), int("soup" in text)] for text, label in sentences(200, 5)]
    data = write_csv(tmp_path / "multi.csv", ["text", "rude", "food"], rows)
    path = recipe(tmp_path / "multi.toml", method="full", epochs=4, rate=1e-3)
    path.write_text(path.read_text().replace('column = "class"', 'columns = ["rude", "food"]'))
    done = toxonnx("train", data, "--recipe", path, "--base", bases["bert"], "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    bundle = export(tmp_path / "run", tmp_path / "bundle", log=quiet)
    assert bundle.manifest.labels.activation == "sigmoid"
    assert bundle.manifest.verification["metrics"]["final"]["macro_f1"] > 0.8
    done = toxonnx("predict", data, "--bundle", tmp_path / "bundle")
    header, *scored = csv.reader(done.stdout.splitlines())
    assert header[3:] == ["predicted_label", "predicted_score", "predicted_rude", "predicted_food"]
    assert {row[3] for row in scored} >= {"rude", "food"}
    for row in scored:
        held = [name for name, share in zip(("rude", "food"), row[5:], strict=True) if float(share) >= 0.5]
        assert row[3] == "|".join(held)
        assert float(row[4]) == max(map(float, row[5:]))


def test_a_promise_that_other_rows_do_not_keep_is_said() -> None:
    from toxonnx.convert.thresholds import measure_decisions
    from toxonnx.convert.verify import Rows
    from toxonnx.labels import Labels

    rng = np.random.default_rng(0)
    labels = Labels(("calm", "rude"))
    y_true = rng.integers(0, 2, 200)
    easy = (rng.normal(size=(200, 2)) + 3 * np.eye(2)[y_true]).astype(np.float32)
    hard = (rng.normal(size=(200, 2)) + 0.3 * np.eye(2)[y_true]).astype(np.float32)
    texts = [f"day {i}" for i in range(200)]
    limits = Export(target_precision={"rude": 0.95})
    settled, about = fit_temperature_and_thresholds(
        easy, Rows(texts, y_true, "validation rows", "validation"), labels, limits
    )
    assert about["fitted"]["per_class"]["rude"]["precision"][0] >= 0.95
    assert measure_decisions(about, easy, Rows(texts, y_true, "the same", "test"), labels, settled)["missed"] == []
    other = measure_decisions(about, hard, Rows(texts, y_true, "harder rows", "test"), labels, settled)
    assert other["missed"] == ["rude"] and other["test"]["per_class"]["rude"]["precision"][0] < 0.95
    assert other["measured_on"] == "200 rows, harder rows" and other["after"] != about["after"]
    with pytest.raises(InputError, match=r"precision 0\.95 of rude needs labelled rows"):
        fit_temperature_and_thresholds(easy, Rows(texts, None, "rows", "data"), labels, limits)
