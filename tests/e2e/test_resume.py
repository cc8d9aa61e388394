"""``toxonnx predict --resume``: killed at any moment, the same bytes in the end."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import ROOT

#: processes to kill for each format
KILLS = int(os.environ.get("TOXONNX_KILLS", "15"))
TEXTS = [f"the {'soup ' * (i % 7)}was fine on day {i * 7919 % 1000}" for i in range(1000)]
#: input, output; every 97th row is bad where rows can be
FORMATS = [
    ("in.csv", "out.csv"),
    ("in.csv", "out.csv.gz"),
    ("in.jsonl.gz", "out.jsonl"),
    ("in.parquet", "out.parquet"),
]


def _write(path: Path) -> None:
    rows = [{"id": i, "text": text} for i, text in enumerate(TEXTS)]
    if path.suffix == ".parquet":
        rows[97]["text"] = None
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=400)
    elif path.suffix == ".csv":
        lines = [f"{row['id']},{row['text']}" if row["id"] % 97 else "bad" for row in rows]
        path.write_text("\n".join(["id,text", *lines]))
    else:
        lines = [json.dumps(row if row["id"] % 97 else {"id": row["id"]}) for row in rows]
        path.write_bytes(gzip.compress("\n".join(lines).encode()))


@pytest.mark.parametrize(("file", "output"), FORMATS)
def test_killed_at_any_moment_it_ends_with_the_same_bytes(tmp_path: Path, file: str, output: str) -> None:
    _write(tmp_path / file)
    options = ["--checkpoint-rows", "100", "--on-error", "null", "--rejects", str(tmp_path / "rejects.csv")]
    script = ROOT / "tests" / "support" / "kill_predict.py"
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(KILLS), file, output, *options],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    killed, with_checkpoint, completed = map(int, done.stdout.split())
    assert killed >= KILLS and with_checkpoint >= KILLS // 4 and completed > 1
