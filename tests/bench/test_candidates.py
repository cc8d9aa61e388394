"""What ``toxonnx bench`` compares."""

from __future__ import annotations

from pathlib import Path

from helpers import sentences

from toxonnx.bench import scorers
from toxonnx.bench.candidates import CandidateOptions, build_candidates
from toxonnx.bundle import open_bundle


def test_a_bundle_runs_without_and_with_its_cascade(cascade: Path, tmp_path: Path) -> None:
    full, first = build_candidates(open_bundle(cascade), (), CandidateOptions(cores=1), tmp_path)
    assert (full.name, first.name) == ("toxonnx (int8)", "toxonnx (int8, cascade)")
    assert (full.comparable, first.comparable) == (False, True)
    texts = [text for text, _ in sentences(40, 12)]
    answers = []
    for one in (full, first):
        assert one.factory == "toxonnx.bench.scorers:bundle"
        options = {name: value for name, value in one.options.items() if name != "model"}
        answers.append(scorers.bundle(Path(one.options["model"]), **options).score(texts))
    assert not answers[0].early.any() and answers[1].early.any()
