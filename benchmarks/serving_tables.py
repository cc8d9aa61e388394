"""The tables of :mod:`serving`."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import Any

from markdown_tables import describe_machine, markdown_table, read_reports, with_range

__all__ = ["serving"]


def serving() -> str:
    """Servers by number of clients, and the long run."""
    return "\n\n".join(map(_serving, read_reports("serving*.json"))) or "Not measured yet."


def _serving(report: dict[str, Any]) -> str:
    measured: dict[tuple[str, int, int], list[dict[str, Any]]] = {}
    for one in report["loads"]:
        measured.setdefault((one["server"], one["clients"], one["texts"]), []).append(one)
    rows = []
    for (server, clients, texts), rounds in measured.items():
        name = f"**{server}**" if server.startswith("toxonnx") else server
        shape = str(clients) if texts == 1 else f"{clients}, {texts} texts in a request"
        times = (statistics.median(one["measured"][key] for one in rounds) for key in ("p50", "p95", "p99"))
        memory = statistics.median(one["memory_mib"] for one in rounds)
        rows.append(
            [name, shape, with_range(_median_and_range([one["measured"]["rows_per_second"] for one in rounds])),
             *(f"{value:,.1f}" if value else "none" for value in times), _errors(rounds), f"{memory:,.0f}"]
        )  # fmt: skip
    header = ["server", "clients", "rows/s (slowest to fastest round)", "p50, ms", "p95, ms", "p99, ms", "errors",
              "memory, MiB"]  # fmt: skip
    offline = {key: [one[key] for one in report["offline"]] for key in ("rows_per_second", "p50", "p99")}
    cores = max(one["measured"]["client_cores"] for one in report["loads"])
    summary = (
        f"{report['texts']['rows']:,} texts ({report['texts']['source']}). The offline engine in the same rounds: "
        f"{with_range(_median_and_range(offline['rows_per_second']))} rows/s; one text: p50 "
        f"{statistics.median(offline['p50']):.1f} ms, p99 {statistics.median(offline['p99']):.1f} ms. At best, the "
        f"server has {report['summary']['share_of_offline_rate']:.0%} of the offline rate; the p99 of one client is "
        f"{report['summary']['p99_of_one_client_to_model']:.1f} times that of the model. The "
        f"clients used at most {cores:.2f} of the cores ({'wrk' if report['wrk'] else 'Python'})."
    )
    parts = [markdown_table(header, rows), summary]
    if long_run := report.get("long_run"):
        parts.append(_long_run(long_run))
    return "\n\n".join([*parts, describe_machine(report["machine"])])


def _median_and_range(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def _errors(rounds: list[dict[str, Any]]) -> str:
    """Errors by status, and answers that were lost, swapped or wrong, of both clients."""
    counts: Counter[str] = Counter()
    for one in rounds:
        for run in (one["measured"], one["checked"]):
            counts.update({status: count for status, count in run["statuses"].items() if status != "200"})
            counts.update({name: run[name] for name in ("lost", "swapped", "wrong") if run[name]})
    return ", ".join(f"{name}: {count:,}" for name, count in counts.items()) or "0"


def _long_run(run: dict[str, Any]) -> str:
    checked = run["checked"]
    statuses, answers = checked["statuses"], sum(checked["statuses"].values())
    good, refused = statuses.get("200", 0), statuses.get("429", 0)
    load = (
        f"{run['seconds'] / 60:.0f} minutes with {run['clients']} clients: {good:,} answers with scores, {refused:,} "
        f"with status 429, {answers - good - refused:,} with another one; {checked['lost']:,} lost, "
        f"{checked['swapped']:,} swapped, {checked['wrong']:,} wrong; memory {run['growth']:+.1%} after the first"
        " fifth."
    )
    end = f"{run['accepted']:,} requests accepted in all, {answers:,} answered, exit code {run['exit_code']}."
    return f"{load} Then SIGTERM: {end}"
