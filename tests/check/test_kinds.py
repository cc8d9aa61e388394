from __future__ import annotations

import re

import pytest
from helpers import ROOT

from toxonnx.check.finding import make_finding
from toxonnx.check.kinds import KINDS, SEVERITIES


def test_every_kind_is_reported_somewhere() -> None:
    folder = ROOT / "toxonnx" / "check"
    source = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py") if path.name != "kinds.py")
    assert {kind for kind in KINDS if f'"{kind}"' in source} == set(KINDS)


def test_kinds_are_complete() -> None:
    for id_, kind in KINDS.items():
        assert id_ == kind.id and re.fullmatch("[a-z]+(-[a-z0-9]+)*", id_)
        assert kind.severity in (None, *SEVERITIES)
        assert kind.description.endswith(".") and kind.advice.endswith(".")


def test_a_finding_has_its_kinds_severity_and_advice() -> None:
    finding = make_finding("empty-texts", "2 rows are empty", [7, 3, 7])
    assert (finding.severity, finding.lines, finding.count) == ("warning", (3, 7), 2)
    assert finding.advice == KINDS["empty-texts"].advice
    with pytest.raises(KeyError):
        make_finding("no-such-kind", "")
    with pytest.raises(ValueError, match="needs a severity"):
        make_finding("truncation", "")
