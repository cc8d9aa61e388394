"""From which checkpoint a run is resumed."""

from __future__ import annotations

from pathlib import Path

from toxonnx.train.checkpoints import last_complete


def test_a_checkpoint_that_was_being_written_is_skipped(tmp_path: Path) -> None:
    assert last_complete(tmp_path / "checkpoints") is None
    states = {"8": '{"global_step": 8}', "16": '{"global_step": 16}', "24": '{"global_st', "32": "", "40": None}
    for step, state in states.items():
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    assert last_complete(tmp_path) == tmp_path / "checkpoint-16"
