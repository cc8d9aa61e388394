"""``Classifier.predict``: the shapes of a transformers pipeline, and the decisions of ``score`` and ``stream``."""

from __future__ import annotations

import dataclasses
import json
import shutil
from typing import Any

import numpy as np
import pytest
from helpers import SHIPPED, sentences
from hypothesis import given, settings
from hypothesis import strategies as st

import toxonnx
from toxonnx import Classifier
from toxonnx.bundle import Bundle, open_bundle, seal
from toxonnx.inference.options import RuntimeOptions
from toxonnx.labels import Labels

THUMB = "\N{THUMBS UP SIGN}"
TEXTS = [text for text, _ in sentences(12)]


def _with_labels(labels: Labels) -> Bundle:
    """The shipped bundle with other decisions."""
    shipped = open_bundle(SHIPPED)
    return dataclasses.replace(shipped, manifest=dataclasses.replace(shipped.manifest, labels=labels))


def test_results_are_those_of_a_transformers_pipeline() -> None:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast, TextClassificationPipeline
    from transformers.modeling_outputs import SequenceClassifierOutput

    names = open_bundle(SHIPPED).manifest.labels.names
    classifier = Classifier(_with_labels(Labels(names)), RuntimeOptions(threads=1))
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(SHIPPED / "tokenizer.json"), model_max_length=128)
    logits = {tuple(tokenizer(text)["input_ids"]): torch.tensor(classifier.score(text).logits) for text in (*TEXTS, "")}

    class Bundled(PreTrainedModel):
        """The bundle's logits."""

        device = torch.device("cpu")

        def forward(self, input_ids: torch.Tensor, **_: torch.Tensor) -> SequenceClassifierOutput:
            return SequenceClassifierOutput(logits=logits[tuple(input_ids[0].tolist())] / classifier.labels.temperature)

    config = PretrainedConfig(id2label=dict(enumerate(classifier.labels.names)))
    pipeline = TextClassificationPipeline(model=Bundled(config), tokenizer=tokenizer, device="cpu")
    for texts in (TEXTS[0], TEXTS[:1], TEXTS[:3], ""):
        for options in ({}, {"top_k": None}, {"top_k": 1}, {"top_k": 2}, {"top_k": 9}):
            ours = classifier.predict(texts, **options)  # type: ignore[call-overload]
            assert _rounded(ours) == pipeline(texts, **options), (texts, options)
    assert classifier.predict([]) == classifier.predict([], top_k=1) == []


def _rounded(result: Any) -> Any:
    if isinstance(result, list):
        return [_rounded(item) for item in result]
    return {**result, "score": pytest.approx(result["score"], abs=1e-6)}


def test_a_decision_is_the_same_everywhere() -> None:
    names = open_bundle(SHIPPED).manifest.labels.names
    plain = Classifier(_with_labels(Labels(names, "sigmoid"))).score(TEXTS).probabilities
    shares = np.linspace(0.2, 0.9, len(names))
    thresholds = tuple(float(np.quantile(column, share)) for column, share in zip(plain.T, shares, strict=True))
    several = Classifier(_with_labels(Labels(names, "sigmoid", thresholds)))
    abstaining = Classifier(
        _with_labels(Labels(names, thresholds=(0.9, 0.01, *[0.9] * (len(names) - 2)))), review_below=0.6
    )
    for classifier in (several, abstaining):
        predictions = [prediction for _, prediction in classifier.stream(TEXTS)]
        for text, prediction, decision in zip(TEXTS, predictions, classifier.predict(TEXTS), strict=True):
            assert decision["label"] == "|".join(prediction.labels) and decision["score"] == prediction.score
            assert decision.get("review", False) == prediction.needs_review
            assert [decision] == classifier.predict(text) and [prediction] == list(classifier.score(text))
            # Lists of labels are ordered by probability, and are no decisions.
            ranked = {item["label"]: item["score"] for item in classifier.predict(text, top_k=None)}
            assert ranked == prediction.probabilities
            assert list(ranked.values()) == sorted(ranked.values(), reverse=True)
    counts = {len(labels) for labels in several.score(TEXTS).label_names}
    assert counts >= {0, 1} and max(counts) > 1  # texts with no label, one and several
    assert "review" not in several.predict(TEXTS)[0] and "review" in abstaining.predict(TEXTS)[0]
    decided = {decision["label"] for decision in abstaining.predict(TEXTS)}
    assert decided != {abstaining.predict(text, top_k=1)[0]["label"] for text in TEXTS}


@pytest.fixture(scope="module")
def without_special_tokens(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """A bundle whose tokenizer adds no special tokens."""
    folder = tmp_path_factory.mktemp("bundle") / "plain"
    shutil.copytree(SHIPPED, folder)
    table = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    (folder / "tokenizer.json").write_text(json.dumps({**table, "post_processor": None}), encoding="utf-8")
    return Classifier(seal(folder, open_bundle(SHIPPED).manifest))


def test_any_text_has_one_answer_on_every_path(without_special_tokens: Classifier) -> None:
    anything = st.text(st.characters(), max_size=12) | st.sampled_from(["", " ", THUMB, f"&#{'9' * 4301};", "fine"])

    @settings(max_examples=15, deadline=None)
    @given(texts=st.lists(anything, min_size=1, max_size=4))
    def check(texts: list[str]) -> None:
        for classifier in (Classifier.load(threads=1), without_special_tokens):
            (empty,) = classifier.score("")
            assert empty.no_tokens
            for (text, streamed), scored in zip(classifier.stream(texts), classifier.score(texts), strict=True):
                (lone,) = classifier.score(text)
                assert streamed == scored and streamed._replace(cached=False) == lone
                assert lone.repaired == any("\ud800" <= character <= "\udfff" for character in text)
                if lone.no_tokens:
                    assert lone.probabilities == empty.probabilities
                if text in ("", " ", THUMB):
                    assert lone.no_tokens
                cleaned = classifier.bundle.manifest.text.clean(text)
                logits = classifier.logits([cleaned])[0]
                assert (logits == classifier.score(text).logits[0]).all()
            assert np.isfinite(classifier.logits(texts)).all()  # not normalised, and yet no error

    check()


def test_the_package_lists_what_it_offers() -> None:
    assert dir(toxonnx) == sorted(toxonnx.__all__)
    assert all(hasattr(toxonnx, name) for name in toxonnx.__all__)
    for name in ("Classifier", "Prediction", "Scores", "InputError", "BundleError", "ToxonnxError"):
        assert name in dir(toxonnx)
    with pytest.raises(AttributeError):
        toxonnx.absent  # noqa: B018
