"""The first stage of a cascade: what it promises, and when it refuses to."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import RUDE, SHIPPED, sentences, toxonnx, write_csv
from numpy.typing import NDArray

from toxonnx import Classifier
from toxonnx.bundle import Bundle, open_bundle, seal
from toxonnx.convert.add_cascade import add_cascade
from toxonnx.convert.cascade import Promise, cascade_target, choose_max_risk, fit_cascade
from toxonnx.data.examples import Examples, save_examples
from toxonnx.data.fingerprints import FINGERPRINT_FILES, hashes, is_seen, load_fingerprints
from toxonnx.errors import BundleError, GateError, InputError
from toxonnx.hub import write_hub_layout
from toxonnx.inference.cascade import FirstStage
from toxonnx.inference.scores import decide, probabilities
from toxonnx.inference.tokenizer_pool import TextPreprocessor
from toxonnx.labels import Labels
from toxonnx.manifest_decisions import Cascade
from toxonnx.texts import TextSpec

DRAWS, ROWS = 1000, 3000
#: share of a rare label, on which the first stage errs more often
RARE, WANTED = 0.08, 0.98


def error_rate(risk: np.ndarray, is_rare: np.ndarray) -> np.ndarray:
    return np.where(is_rare, 0.8, 0.3) * risk**2


def draw(rng: np.random.Generator, wanted_of_rare: float) -> tuple[np.ndarray, list[Promise]]:
    risk, is_rare = rng.random(ROWS), rng.random(ROWS) < RARE
    broken = rng.random(ROWS) < error_rate(risk, is_rare)
    return risk, [Promise(WANTED, np.ones(ROWS, np.bool_), broken), Promise(wanted_of_rare, is_rare, broken)]


def largest_threshold(wanted_of_rare: float) -> float:
    """Up to which both promises hold for the whole population: where the integrals of the errors reach them."""
    of_all = RARE * 0.8 / 3 + (1 - RARE) * 0.3 / 3
    return float(min((1 - WANTED) / of_all, (1 - wanted_of_rare) / (0.8 / 3)) ** (1 / 3))


@pytest.mark.parametrize("wanted_of_rare", [0.95, 0.5])  # both promises are the limit, and only that for all rows
def test_the_promise_breaks_in_at_most_one_of_twenty_draws(wanted_of_rare: float) -> None:
    rng, limit = np.random.default_rng(0), largest_threshold(wanted_of_rare)
    thresholds = np.linspace(0, 1, 1001)
    chosen, untested = [], []
    for _ in range(DRAWS):
        risk, promises = draw(rng, wanted_of_rare)
        threshold = choose_max_risk(risk, promises, thresholds)
        assert threshold is not None
        chosen.append(threshold)
        # Without a test: the largest threshold at which the promises hold for the drawn rows themselves.
        errors = [np.sort(risk[one.applies & one.broken]) for one in promises]
        allowed = [int(one.applies.sum() * (1 - one.wanted)) for one in promises]
        untested.append(min(each[most] for each, most in zip(errors, allowed, strict=True) if most < len(each)))
    assert (np.array(chosen) > limit).sum() <= 0.05 * DRAWS + 3 * np.sqrt(0.05 * 0.95 * DRAWS)
    assert (np.array(untested) > limit).sum() > 0.3 * DRAWS
    assert np.median(chosen) > 0.8 * limit  # it is not kept by answering next to nothing


def test_a_label_too_rare_to_show_the_promise_is_refused(bundles: dict[str, Path]) -> None:
    classifier = Classifier.load(bundles["int8"])
    texts = [text for text, label in sentences(900, 3) if label == "praise"]
    texts += [text for text, _ in sentences(60, 5)]
    unseen = np.zeros(0, np.uint64)

    def fit(wanted: dict[str, float], trained_on: NDArray[np.uint64] = unseen) -> Cascade:
        target = cascade_target(wanted, classifier.labels)
        return fit_cascade(classifier, texts, trained_on, target, where="rows")[0]

    with pytest.raises(GateError, match=r"0\.95 needs 59 rows with complaint to test on, \d+ can show 0\.\d+ at most"):
        fit({"*": 0.95})
    assert fit({"*": 0.95, "complaint": 0.5}).recall["complaint"].wanted == 0.5
    assert "complaint" not in fit({"*": 0.95, "complaint": 0}).recall
    with pytest.raises(GateError, match="too few"):  # rows on which the model was trained prove nothing
        fit({"*": 0.95}, hashes(texts))


class TwoLabels:
    """A full model of two independent labels, decided by words, of which the second needs a probability of 0.8."""

    labels = Labels(("rude", "food"), "sigmoid", (0.5, 0.8))
    bundle = open_bundle(SHIPPED)
    preprocess = TextPreprocessor(SHIPPED / "tokenizer.json", 128, bundle.manifest.text)

    def logits(self, texts: list[str]) -> np.ndarray:
        rude = [4.0 * any(word in text for word in RUDE) - 2 for text in texts]
        food = [1.7 * ("soup" in text) + 1.7 * ("bread" in text) - 1 for text in texts]
        return np.stack([rude, food], axis=1).astype(np.float32)


def test_every_decision_of_a_multi_label_model_counts() -> None:
    model: Any = TwoLabels()
    texts = [text for text, _ in sentences(3000, 21)]
    target = cascade_target({"*": 0.97, "food": 0.9}, model.labels)
    cascade, weights = fit_cascade(model, texts, np.zeros(0, np.uint64), target, where="rows")
    assert cascade.agreement.wanted == cascade.recall["rude"].wanted == 0.97
    assert cascade.recall["food"].wanted == 0.9 and cascade.recall["food"].rows < cascade.recall["rude"].rows
    assert cascade.early > 0.3 and cascade.probability_difference < 0.05
    new = [text for text, _ in sentences(2000, 22)]
    answers = FirstStage(cascade, weights, model.labels)(model.preprocess.tokenizer(new))
    first, full = (
        decide(probabilities(logits, model.labels), model.labels) for logits in (answers.logits, model.logits(new))
    )
    assert (first == full).all(axis=1)[answers.early].sum() + (~answers.early).sum() >= 0.97 * len(new)


@pytest.mark.parametrize("wanted", [{"*": 1.0}, {"*": 0.0}, {"*": 0.9, "b": 0.9}, {"*": 0.9, "b": 0}, {"a": 0.9}])
def test_impossible_targets(wanted: dict[str, float]) -> None:
    with pytest.raises(InputError):
        cascade_target(wanted, Labels(("a", "c")))


def test_export_seals_a_first_stage(run: Path, tmp_path: Path) -> None:
    data = write_csv(tmp_path / "texts.csv", ["text"], [[text] for text, _ in sentences(900, 8)])
    done = toxonnx("export", run, "-o", tmp_path / "bundle", "--cascade", "0.95", "--cascade-data", data)
    assert done.returncode == 0, done.stderr
    assert "cascade: the first stage, fitted on" in done.stderr
    bundle = open_bundle(tmp_path / "bundle")
    assert bundle.manifest.cascade.rows_from == "texts.csv"
    assert bundle.manifest.cascade.agreement.wanted == 0.95
    assert "## Cascade" in (tmp_path / "bundle" / "README.md").read_text()
    scores = Classifier(bundle).score([text for text, _ in sentences(200, 9)])
    assert scores.early.mean() > 0.5
    assert "a first stage answers" in toxonnx("info", tmp_path / "bundle").stdout


def test_test_rows_of_the_run_that_a_first_stage_is_fitted_on_are_no_new_rows(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    labels = Labels(("complaint", "praise"))
    texts, classes = zip(*sentences(900, 8), strict=True)
    y_true = np.array([labels.names.index(name) for name in classes])
    save_examples(tmp_path / "run" / "test.csv", Examples(list(texts), y_true, [2] * 900, labels, TextSpec()))
    done = toxonnx("export", tmp_path / "run", "-o", tmp_path / "bundle", "--cascade", "0.95")
    assert done.returncode == 0, done.stderr
    bundle = open_bundle(tmp_path / "bundle")
    assert is_seen(texts, load_fingerprints(bundle.path / FINGERPRINT_FILES["fitted"])).all()
    # The report is about the full model, for which they were new.
    assert bundle.manifest.evaluation["part"] == "test"
    assert bundle.manifest.evaluation["models"][0]["leaky_rows"] < 900


def test_a_bundle_gets_a_first_stage_for_other_texts(bundles: dict[str, Path], tmp_path: Path) -> None:
    bundle, output = bundles["int8"], tmp_path / "faster"
    data = write_csv(tmp_path / "texts.csv", ["comment"], [[text] for text, _ in sentences(900, 8)])
    command = ["fit-cascade", data, "--text-column", "comment", "--bundle", bundle, "-o", output, "--agreement"]
    for options, code, what in (
        (["0.95,harmless=0.9"], 2, "harmless"),
        (["0.999"], 1, "needs 2,995 rows to test on"),
        (["0.95", "--text-column", "body"], 2, "body"),
    ):
        done = toxonnx(*command, *options)
        assert (done.returncode, what in done.stderr, output.exists()) == (code, True, False), done.stderr

    for agreement in ("0.95", "0.9"):  # a first stage is replaced by another one
        done = toxonnx(*command, agreement, *(["--force"] if output.exists() else []))
        assert done.returncode == 0, done.stderr
        command[5] = output
    assert "cascade: the first stage, fitted on" in done.stderr
    made = open_bundle(output)
    assert (made.manifest.name, made.manifest.cascade.agreement.wanted) == ("faster", 0.9)
    assert (output / "README.md").read_text().count("## Cascade") == 1
    card = (output / "README.md").read_text()
    assert card.startswith("# faster\n") and "--bundle faster" in card and f"--bundle {bundle.name}\n" not in card
    assert "## Verification of the export" in card

    texts = [text for text, _ in sentences(300, 9)]
    scores = Classifier(made).score(texts)
    assert scores.early.mean() > 0.5
    full = Classifier.load(bundle).score(texts)
    assert np.array_equal(Classifier.load(output, cascade=False).score(texts).logits, full.logits)
    assert np.array_equal(scores.logits[~scores.early], full.logits[~scores.early])

    seen = load_fingerprints(output / FINGERPRINT_FILES["fitted"])  # eval reports these apart
    assert is_seen([text for text, _ in sentences(900, 8)], seen).all()


def test_a_first_stage_for_a_bundle_from_elsewhere(tmp_path: Path) -> None:
    bundle, manifest = tmp_path / "bundle", open_bundle(SHIPPED).manifest
    write_hub_layout(open_bundle(SHIPPED), bundle)
    (bundle / FINGERPRINT_FILES["training"]).unlink()
    seal(bundle, manifest)
    (tmp_path / "elsewhere.npy").write_bytes(b"no fingerprints")
    (bundle / FINGERPRINT_FILES["training"]).symlink_to(tmp_path / "elsewhere.npy")  # not listed, so it is not read
    wanted = {"*": 0.5, **dict.fromkeys(manifest.labels.names, 0.0)}

    def add() -> Bundle:
        classifier = Classifier.load(bundle, cascade=False)
        return add_cascade(classifier, [text for text, _ in sentences(400, 8)], tmp_path / "new", wanted, where="rows")

    card = add().read_card()
    for place in ('model-index: [{"name": "new", ', "# new", "--bundle new", '"OWNER/new", '):
        assert place in card
    shutil.rmtree(tmp_path / "new")
    (bundle / FINGERPRINT_FILES["training"]).unlink()
    (bundle / "README.md").write_bytes("# Café".encode("latin-1"))
    seal(bundle, manifest)
    with pytest.raises(BundleError, match=r"README\.md is not UTF-8"):
        add()
