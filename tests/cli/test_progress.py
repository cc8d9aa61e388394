"""Progress on standard error."""

from __future__ import annotations

import pytest

from toxonnx.cli import progress


class Clock:
    """Time that a test sets, in seconds."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock.monotonic)
    return clock


def test_a_line_every_thirty_seconds_with_the_time_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.show_progress() as show:
        # A resumed training: the first half was done before.
        for second in range(0, 121, 10):
            clock.now = 1000.0 + second
            show(0.5 + second / 5000, f"step {second}")
        clock.now += 60
        show(None, "7 rows")  # the total is unknown
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "50.6%, step 30, 41 min left"
    assert [line.split(", ")[1] for line in lines[:4]] == [f"step {second}" for second in (30, 60, 90, 120)]
    assert lines[4:] == ["7 rows"]


def test_the_time_left_of_a_second_part_of_the_work(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.show_progress() as show:
        for part in ("texts", "steps"):
            for tenth in range(1, 11):
                clock.now += 40
                show(tenth / 10, f"{tenth} {part}")
    lines = capsys.readouterr().err.splitlines()
    assert "60.0%, 6 texts, 3 min left" in lines and "60.0%, 6 steps, 3 min left" in lines
