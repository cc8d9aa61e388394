"""Batch files of OpenAI, interrupted and in shards: a request may have several texts, and its answer is one line."""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
import stub_classifier
from helpers import SHIPPED
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from length_scorer import LABELS

from toxonnx.bundle import open_bundle
from toxonnx.cli import group

TEXT = st.sampled_from(["a", "a fine day", "caf\u00e9", ""])
BODY = st.fixed_dictionaries({"input": TEXT | st.lists(TEXT, max_size=5)})
LINE = st.one_of(
    BODY.map(lambda body: json.dumps({"custom_id": "x", "method": "POST", "url": "/v1/moderations", "body": body})),
    st.sampled_from(["", "{", "[]", '{"custom_id": "x"}']),
)


@pytest.fixture(autouse=True)
def _stub(monkeypatch: pytest.MonkeyPatch) -> None:
    stub_classifier.install(monkeypatch.setattr)
    opened = open_bundle(SHIPPED)
    mappings = {"openai": {"harassment": "rude"}}
    manifest = replace(opened.manifest, labels=LABELS, mappings=mappings, label_descriptions={})
    monkeypatch.setattr("toxonnx.cli.predict_plan.open_bundle", lambda _: replace(opened, manifest=manifest))


def _run(*arguments: str | Path) -> None:
    group([str(one) for one in arguments], standalone_mode=False)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(LINE, max_size=10), on_error=st.sampled_from(["skip", "null"]), total=st.integers(1, 4),
    stop=st.integers(1, 9), rows=st.integers(1, 4), suffix=st.sampled_from(["", ".gz"]),
)  # fmt: skip
def test_resumed_and_joined_answers_are_those_of_the_whole(
    tmp_path: Path, lines: list[str], on_error: str, total: int, stop: int, rows: int, suffix: str
) -> None:
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    path, out = tmp_path / "in.jsonl", tmp_path / f"out.jsonl{suffix}"
    first = {"custom_id": "0", "method": "POST", "url": "/v1/moderations", "body": {"input": ["a", "b"]}}
    path.write_text("\n".join([json.dumps(first), *lines]), encoding="utf-8")
    predict: list[Any] = [
        "predict", path, "-o", out, "--input-format", "openai-batch", "--on-error", on_error, "--checkpoint-rows", rows,
    ]  # fmt: skip
    _run(*predict)
    whole = out.read_bytes()
    out.unlink()
    with pytest.MonkeyPatch.context() as patch:
        score, count = stub_classifier.StubClassifier.score, iter(range(stop))

        def stops(self: stub_classifier.StubClassifier, batch: list[str]) -> object:
            if next(count, None) is None:
                raise KeyboardInterrupt
            return score(self, batch)

        patch.setattr(stub_classifier.StubClassifier, "score", stops)
        try:
            _run(*predict)
        except click.Abort:
            assert not out.exists()
    _run(*predict, *(["--force"] if out.exists() else ["--resume"]))
    assert out.read_bytes() == whole
    out.unlink()
    for number in range(1, total + 1):
        _run(*predict, "--shard", f"{number}/{total}")
    _run("join", out)
    unpacked = gzip.decompress if suffix else bytes
    assert unpacked(out.read_bytes()) == unpacked(whole)
    answered = [line for line in lines if line and (on_error == "null" or ('"body"' in line and ": []" not in line))]
    assert len(unpacked(whole).splitlines()) == 1 + len(answered)
