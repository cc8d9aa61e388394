"""The cost of a billion rows on many machines, for docs/many-machines.md: measured rates, assumptions, and the sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markdown_tables import describe_machine, markdown_table, read_reports

__all__ = ["plan"]

ENGINE = "toxonnx int8"
#: the format of the worked example, a key of results/files.json
FORMAT = "csv.gz"
#: default of --checkpoint-rows
CHECKPOINT_ROWS = 20_000


@dataclass(frozen=True)
class Assumptions:
    """What depends on where it runs. None of it is measured here.

    Attributes:
        rows, machines, cores: how many rows, on how many machines of how many cores.
        row_bytes: of an input row, and of what is added to it.
        network: bytes per second of a machine, from and to the store.
        price: of a machine, per hour.
        files: inputs of equal size, of which each machine scores an equal share.
        preemption_hours: between two preemptions of a machine.
        restart: seconds until a preempted machine scores again.
        disk: bytes per second at which ``join`` reads and writes.
    """

    rows: int = 1_000_000_000
    machines: int = 100
    cores: int = 16
    row_bytes: tuple[int, int] = (200, 60)
    network: float = 125e6
    price: float = 0.5
    files: int = 10_000
    preemption_hours: float = 6.0
    restart: float = 120.0
    disk: float = 200e6


@dataclass(frozen=True)
class Rate:
    """A measured rate: rows per second, and the file in benchmarks/results that it is from."""

    rows_per_second: float
    source: str


def plan() -> str:
    """The inputs of the model and its results."""
    one, (report,) = Assumptions(), read_reports("engines-minilm-tweets.json")
    core = Rate(_engine(report) / report["machine"]["cores"], "engines-minilm-tweets.json")
    files = read_reports("files.json")
    reading = Rate(files[0]["formats"][FORMAT]["rows_per_second"]["median"], "files.json") if files else None
    machines = {core.source: report["machine"]} | ({reading.source: files[0]["machine"]} if reading else {})
    return "\n\n".join(
        [
            markdown_table(["input of the model", "value", "from"], _inputs(one, core, reading, report)),
            markdown_table(["result", "formula", "value"], _results(one, core, reading)),
            *(f"`{name}`: {describe_machine(machine)}" for name, machine in machines.items()),
        ]
    )


def _engine(report: dict[str, Any]) -> float:
    (found,) = (entry for entry in report["candidates"] if entry["name"] == ENGINE)
    return float(found["rows_per_second"]["median"])


def _inputs(one: Assumptions, core: Rate, reading: Rate | None, report: dict[str, Any]) -> list[list[str]]:
    tokens = report["texts"]["tokens_mean"]
    if reading is None:
        process = ["all but the model, of one process (_p_)", "", "not measured yet"]
    else:
        process = [
            f"all but the model, of one process, {FORMAT} (_p_)", f"{reading.rows_per_second:,.0f} rows/s",
            f"**measured**, `{reading.source}`",
        ]  # fmt: skip
    return [
        [
            f"MiniLM, texts of {tokens:g} tokens, of one core (_r_)", f"{core.rows_per_second:,.0f} rows/s",
            f"**measured** on {report['machine']['cores']} cores, `{core.source}`",
        ],
        process,
        ["rows (_N_), machines (_M_), cores of each (_C_)", f"{one.rows:,}; {one.machines}; {one.cores}", "chosen"],
        ["rate of a core among _C_, as a share of _r_", "1", "assumed: measure a whole machine first"],
        ["bytes of a row read and added (_b_, _a_)", f"{one.row_bytes[0]}; {one.row_bytes[1]}", "assumed"],
        ["network of a machine (_w_)", f"{one.network / 1e6:,.0f} MB/s", "assumed"],
        ["input files of equal size (_F_)", f"{one.files:,}", "chosen"],
        [
            "hours between preemptions of a machine (_h_), seconds to restart (_s_)",
            f"{one.preemption_hours:g}; {one.restart:g}", "assumed",
        ],
        ["price of a machine per hour (_e_)", f"${one.price:.2f}", "assumed"],
    ]  # fmt: skip


def _results(one: Assumptions, core: Rate, reading: Rate | None) -> list[list[str]]:
    read, added = one.row_bytes
    model = one.cores * core.rows_per_second
    network = one.network / (2 * read + added)
    limits = {"the model": model, "the network": network}
    if reading is not None:
        limits["one process"] = reading.rows_per_second
    slowest = min(limits, key=lambda name: limits[name])
    rate = limits[slowest]
    hours = one.rows / (one.machines * rate) / 3600
    file_seconds = one.rows / one.files / rate
    lost = (CHECKPOINT_ROWS / rate / 2 + one.restart) / (one.preemption_hours * 3600)
    total = hours * (1 + lost) + file_seconds / 3600
    joined = one.rows * (read + added)
    in_process = f", one process {reading.rows_per_second:,.0f}" if reading is not None else ""
    return [
        [
            "rate of a machine (_v_), rows/s", f"min(_C·r_, {'_p_, ' if reading else ''}_w_ / (2_b_ + _a_))",
            f"{rate:,.0f}, by {slowest} (model {model:,.0f}, network {network:,.0f}{in_process})",
        ],
        ["scoring (_t_)", "_N_ / (_M·v_)", f"{hours:.2f} h"],
        [
            "lost to preemption, with `--resume`", f"({CHECKPOINT_ROWS:,} / 2_v_ + _s_) / 3600_h_ of _t_",
            f"{lost:.2%}: {CHECKPOINT_ROWS / rate:.1f} s of work between checkpoints, and the restart",
        ],
        ["wait for the last file, at most", "_N_ / (_F·v_)", f"{file_seconds:.0f} s"],
        ["all", "the sum", f"{total:.2f} h"],
        ["price", "_M·e_ · all", f"${one.machines * one.price * total:,.0f}"],
        [
            "reading and writing of all machines together", "_M·v_ (2_b_ + _a_)",
            f"{one.machines * rate * (2 * read + added) / 1e6:,.0f} MB/s",
        ],
        [
            "not needed: joining to one file", f"2_N_ (_b_ + _a_) / {one.disk / 1e6:,.0f} MB/s (assumed)",
            f"{joined / 1e9:,.0f} GB, {2 * joined / one.disk / 3600:.1f} h on one machine",
        ],
    ]  # fmt: skip
