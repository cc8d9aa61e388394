from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toxonnx.bench.scorers import pipeline, pytorch, scores_from_probabilities
from toxonnx.labels import Labels


@pytest.mark.parametrize("temperature", [1.0, 1.7])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_scores_return_the_probabilities_they_were_made_from(activation: str, temperature: float) -> None:
    labels = Labels(("a", "b", "c"), activation, temperature=temperature)
    probs = np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [1e-12, 0.4, 0.6 - 1e-12]])
    scores = scores_from_probabilities(probs, labels)
    assert scores.logits.dtype == np.float32
    np.testing.assert_allclose(scores.probabilities, probs, rtol=5e-6, atol=0)


def test_texts_without_a_known_token_are_empty_texts_to_every_scorer_of_a_checkpoint(tmp_path: Path) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import DistilBertConfig, DistilBertForSequenceClassification, PreTrainedTokenizerFast

    from toxonnx.train.adapters import load_trained
    from toxonnx.train.torch_scorer import TorchScorer

    words = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "fine": 2, "day": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]", model_max_length=16
    ).save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = DistilBertConfig(vocab_size=4, dim=32, n_layers=2, n_heads=4, hidden_dim=32, max_position_embeddings=16)
    DistilBertForSequenceClassification(config).eval().save_pretrained(tmp_path)
    texts = [
        "",
        "fine day",
        "\N{THUMBS UP SIGN}",
        "\ud83d",
        " ",
        "unknown words only",
        "fine unknown",
        f"&#{'9' * 4301};",
    ]
    scorers = (
        TorchScorer(load_trained(tmp_path)),
        pytorch(tmp_path, threads=1, max_length=16),
        pipeline(tmp_path, threads=1, max_length=16, batch=4),
    )
    reference = scorers[0].score(texts)
    without = [i for i, flag in enumerate(reference.no_tokens) if flag]
    assert without == [i for i, text in enumerate(texts) if "fine" not in text]
    for scorer in scorers:
        scores = scorer.score(texts)
        np.testing.assert_allclose(scores.probabilities, reference.probabilities, atol=1e-5)
        np.testing.assert_allclose(scores.probabilities[without], scores.probabilities[[0] * len(without)], atol=1e-6)
    assert np.ptp(reference.probabilities, axis=0).min() > 1e-3  # other texts have other probabilities
