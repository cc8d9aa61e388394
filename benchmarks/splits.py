"""Collects the metrics of runs that differ only in their split.

    python benchmarks/splits.py RUN [RUN ...] -o benchmarks/results/splits-NAME.json

Each RUN is a folder written by toxonnx train; its run.json has the metrics of the model and of the baselines.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def collect(folder: Path) -> dict[str, Any]:
    """Split, settings and metrics of one run."""
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    split = run["recipe"]["split"]
    return {
        "base": run["base"],
        "data": run["data"],
        "method": split["method"],
        "group": split["group"],
        "seed": split["seed"],
        "epochs": run["epochs"],
        "learning_rate": run["learning_rate"],
        "best_epoch": run["best_epoch"],
        "held_out": run["split"]["validation"],
        "leaking": run["split"]["leaking"],
        "model": {key: run["metrics"]["validation"][key] for key in ("accuracy", "macro_f1", "loss")},
        **run["baselines"]["validation"],
        "versions": {"toxonnx": run["toxonnx"], **run["versions"]},
    }


def main() -> None:
    """Writes the collection."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("-o", "--output", required=True, type=Path)
    arguments = parser.parse_args()
    rows = [collect(folder) for folder in arguments.runs]
    arguments.output.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
