"""Writes the tables of benchmarks/README.md from the results that are committed beside it.

python benchmarks/tables.py            # writes
python benchmarks/tables.py --check    # exit code 1 where the README says something else
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

HERE = Path(__file__).parent
START, END = "<!-- tables: written by tables.py -->", "<!-- end of tables -->"


def graphs() -> str:
    """The table of graph variants, a column for each shape."""
    reports = [json.loads(path.read_text()) for path in sorted((HERE / "results").glob("graphs-*.json"))]
    lines = [
        "| rows/s (ratio to the first row), spread of five rounds | "
        + " | ".join(report["shape"] for report in reports)
        + " |",
        "|---" * (len(reports) + 1) + "|",
    ]
    for name in reports[0]["seconds"]:
        cells = []
        for report in reports:
            seconds = report["seconds"][name]
            spread = (max(seconds) - min(seconds)) / statistics.median(seconds)
            rates = {key: report["rows"] / statistics.median(each) for key, each in report["seconds"].items()}
            cells.append(f"{rates[name]:.0f} ({rates[name] / next(iter(rates.values())):.2f}), spread {spread:.0%}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines.append("")
    for report in reports:
        facts = ", ".join(f"{key} {value}" for key, value in report["environment"].items())
        lines.append(f"{report['shape']}: {facts}.")
    return "\n".join(lines)


def main() -> int:
    """Writes or checks."""
    readme = HERE / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, rest = text.split(START)
    _, after = rest.split(END)
    new = f"{before}{START}\n\n{graphs()}\n\n{END}{after}"
    if "--check" in sys.argv:
        return int(new != text)
    readme.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
