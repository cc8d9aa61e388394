"""``Scores.to_dict``: data frames get the columns of a scored file, in every library."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from helpers import SHIPPED, sentences, toxonnx, write_csv

from toxonnx import Classifier, Scores
from toxonnx.labels import Labels

TEXTS = [text for text, _ in sentences(30, 21)]


def _pandas(classifier: Classifier) -> dict[str, list[Any]]:
    frame = pd.DataFrame({"comment": TEXTS})
    return frame.assign(**classifier.score(frame["comment"]).to_dict(prefix="p_")).to_dict("list")


def _polars(classifier: Classifier) -> dict[str, list[Any]]:
    frame = pl.DataFrame({"comment": TEXTS})
    columns = classifier.score(frame["comment"]).to_dict(prefix="p_")
    return frame.hstack(pl.DataFrame(columns)).to_dict(as_series=False)


def _arrow(classifier: Classifier) -> dict[str, list[Any]]:
    table = pa.table({"comment": TEXTS})
    for name, values in classifier.score(table["comment"]).to_dict(prefix="p_").items():
        table = table.append_column(name, pa.array(values))
    return table.to_pydict()


def _datasets(classifier: Classifier) -> dict[str, list[Any]]:
    datasets.disable_progress_bars()
    dataset = datasets.Dataset.from_dict({"comment": TEXTS})
    return dataset.map(
        lambda batch: classifier.score(batch["comment"]).to_dict(prefix="p_"), batched=True, batch_size=7
    ).to_dict()


@pytest.mark.filterwarnings("ignore:.*couldn't be hashed:UserWarning")
def test_data_frames_get_the_columns_of_a_scored_file(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["comment"], [[text] for text in TEXTS])
    done = toxonnx("predict", tmp_path / "a.csv", "-o", tmp_path / "b.csv", "--prefix", "p_")
    assert done.returncode == 0, done.stderr
    expected = pd.read_csv(tmp_path / "b.csv", keep_default_na=False).to_dict("list")
    classifier = Classifier.load(SHIPPED)
    for frame_of in (_pandas, _polars, _arrow, _datasets):
        columns = frame_of(classifier)
        assert list(columns) == list(expected), frame_of
        assert columns["p_label"] == expected["p_label"], frame_of
        for name in list(expected)[2:]:
            assert columns[name] == pytest.approx(expected[name], abs=5.1e-7), (frame_of, name)


def test_several_labels_and_names_that_clash() -> None:
    labels = Labels(("score", "rude"), "sigmoid", (0.5, 0.5))
    scores = Scores.of(labels, pd.DataFrame([[1.0, 2.0], [-1.0, -2.0]]).to_numpy("float32"))
    columns = scores.to_dict()
    assert columns["label"] == ["score|rude", ""]
    assert list(columns) == ["label", "score", "probability_score", "probability_rude"]
    assert list(columns["score"]) == list(columns["probability_rude"][:1]) + list(columns["probability_score"][1:])
    assert list(dataclasses.replace(scores, labels=Labels(("a", "b"))).to_dict()) == ["label", "score", "a", "b"]
