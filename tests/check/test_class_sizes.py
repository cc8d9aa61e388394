from __future__ import annotations

from pathlib import Path

from check_helpers import Rows, by_kind, check_quickly, distinct_rows
from helpers import write_csv

from toxonnx.check.class_sizes import ClassSize, class_findings, label_shift_findings
from toxonnx.inference.tokenizer import Tokenizer


def class_sizes(*rows: int) -> list[ClassSize]:
    return [ClassSize(f"c{i}", count, count / sum(rows), count) for i, count in enumerate(rows)]


def test_label_shift_is_reported_above_its_limit() -> None:
    (finding,) = label_shift_findings(class_sizes(50, 50), class_sizes(61, 39), "v")
    assert finding.message.startswith("The share of 2 classes")
    assert not label_shift_findings(class_sizes(50, 50), class_sizes(59, 41), "v")


def test_severity_of_class_imbalance() -> None:
    def severities(*rows: int) -> list[str]:
        findings = class_findings(class_sizes(*rows), [[] for _ in rows], multi=False, needed=2)
        return [finding.severity for finding in findings if finding.kind == "class-imbalance"]

    assert (severities(99, 10), severities(100, 10), severities(499, 10), severities(500, 10)) == (
        [], ["note"], ["note"], ["warning"],
    )  # fmt: skip


def test_a_label_that_the_validation_file_lacks_is_reported(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = [[text, i % 2, int(i % 3 == 0)] for i, (text, _) in enumerate(distinct_rows(60))]
    data = write_csv(tmp_path / "d.csv", ["text", "a", "b"], rows)
    validation = write_csv(tmp_path / "v.csv", ["text", "a", "b"], [[text, a, 0] for text, a, _ in rows[:9]])
    findings = by_kind(check_quickly(data, tokenizer, label_columns=("a", "b"), validation=validation))
    assert findings["unvalidated-labels"].message == "Labels that do not occur in v.csv: b"
    assert findings["unvalidated-labels"].severity == "warning" and findings["small-classes"].file == "v.csv"
