"""How fast `toxonnx serve` answers with 1 to 512 clients, and whether it loses anything in minutes at full load.

    python benchmarks/serving.py --texts tweets.csv --text-column tweet --checkpoint FOLDER --peers PYTHON \\
        --minutes 10 --json benchmarks/results/serving.json

Each client sends its next request when it has the answer to the last one. wrk measures the speed, if it is installed; a
client in Python checks that each answer has, bit for bit, the scores that the offline engine gives the texts of its
request. No score comes from the server's cache, which is turned off: the texts are used again and again. Clients and
servers share the cores.

``--peers`` is the interpreter of an environment with requirements-infinity.txt: it runs the same model in PyTorch, as a
transformers pipeline behind FastAPI and in Infinity's server. ``--checkpoint`` is the trained model; without it, they
have random weights in the shape of the included model, which take the same time.

``--minutes`` loads the server for so long, and then sends SIGTERM while all clients wait for answers. Exit code 1 if an
answer of toxonnx is lost, swapped or wrong, if there is a status other than 200 and 429, or if the memory grows by more
than 5% after the first fifth of the time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from http_load import Load, Request, has_wrk, run_clients, run_wrk

from toxonnx import Classifier
from toxonnx.bench.synthetic_texts import synthetic_texts
from toxonnx.io.table import read_table
from toxonnx.system import available_cores, describe_system

HERE = Path(__file__).absolute().parent
NAME = "toxonnx serve"
#: clients, and texts in each of their requests
SHAPES = ((1, 1), (8, 1), (64, 1), (512, 1), (8, 64))
QUICK_SHAPES = ((1, 1), (8, 1))
#: of the long run, and of SIGTERM
LONG_RUN = (512, 1)
#: growth of the memory after the warm-up
MAX_GROWTH = 0.05
START_TIMEOUT = 600.0


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server to load.

    Attributes:
        name: for the table.
        command: its command line, without the port, which comes last.
        path: of its endpoint.
        health: a path that answers with status 200 when it is ready.
        body: the body of a request with some texts.
        environment: additional environment variables.
        is_checked: whether its answers are those of ``/v1/classify``, and have to be the offline engine's scores.
    """

    name: str
    command: tuple[str, ...]
    path: str
    health: str
    body: Callable[[Sequence[str]], Any]
    environment: dict[str, str] = field(default_factory=dict)
    is_checked: bool = False


@dataclass(frozen=True)
class Running:
    """A server that listens."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def memory_mib(self) -> float:
        """Its resident memory."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


@contextlib.contextmanager
def start(server: Server) -> Iterator[Running]:
    """Starts a server, waits until it is ready, and ends it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="toxonnx-serving-") as folder:
        log = Path(folder, "log")
        with open(log, "wb") as file:
            process = subprocess.Popen(
                [*server.command, str(port)], stdout=file, stderr=file, env={**os.environ, **server.environment}
            )
        try:
            deadline = time.monotonic() + START_TIMEOUT
            while not _is_ready(f"http://127.0.0.1:{port}{server.health}"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{server.name} does not start:\n{log.read_text(errors='replace')[-3000:]}")
                time.sleep(0.1)
            yield Running(process, port, log)
        finally:
            process.kill()
            process.wait()


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10):
            return True
    except (urllib.error.URLError, OSError):
        return False


def toxonnx_server(bundle: str | None) -> Server:
    """The one that is measured."""
    bundles = [bundle] if bundle else []
    options = ["--cached-texts", "0", "--log-format", "json", "--port"]
    return Server(
        name=NAME, command=(sys.executable, "-m", "toxonnx", "serve", *bundles, *options),
        path="/v1/classify", health="/readyz", body=lambda texts: {"texts": list(texts)}, is_checked=True,
    )  # fmt: skip


def peer_servers(python: str, model: Path) -> list[Server]:
    """The same model in PyTorch, in servers of others."""
    threads = str(available_cores())
    return [
        Server(
            name="FastAPI + transformers pipeline",
            command=(python, "-m", "uvicorn", "--app-dir", str(HERE / "peers"), "pipeline_server:app", "--port"),
            path="/classify", health="/health", body=lambda texts: {"texts": list(texts)},
            environment={"MODEL": str(model), "THREADS": threads},
        ),
        Server(
            name="Infinity",
            command=(
                str(Path(python).with_name("infinity_emb")), "v2", "--model-id", str(model), "--served-model-name",
                "model", "--engine", "torch", "--device", "cpu", "--dtype", "float32", "--no-bettertransformer",
                "--no-model-warmup", "--port",
            ),
            path="/classify", health="/health", body=lambda texts: {"model": "model", "input": list(texts)},
            environment={"OMP_NUM_THREADS": threads, "DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"},
        ),
    ]  # fmt: skip


@dataclass(frozen=True)
class Texts:
    """Different texts with the scores that the offline engine gives them."""

    texts: list[str]
    scores: list[tuple[float, ...]]

    def load(self, server: Server, port: int, texts: int) -> Load:
        """Requests of so many texts each."""
        requests = []
        for begin in range(0, len(self.texts) - texts + 1, texts):
            part = slice(begin, begin + texts)
            body = json.dumps(server.body(self.texts[part])).encode()
            requests.append(Request(body, texts, tuple(self.scores[part]) if server.is_checked else None))
        return Load("127.0.0.1", port, server.path, requests)


def read_texts(path: Path | None, column: str, rows: int) -> list[str]:
    """Different texts that are not empty."""
    texts = synthetic_texts(rows) if path is None else read_table(path).column(column)
    return [text for text in dict.fromkeys(texts) if text.strip()][:rows]


def measure_offline(classifier: Classifier, texts: Sequence[str], seconds: float) -> dict[str, float]:
    """Rows per second of the offline engine, and milliseconds of a single text."""
    start, rows = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds:
        part = texts[rows % len(texts) :][:4096]
        classifier.score(part)
        rows += len(part)
    times = []
    start, number = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        classifier.score([texts[number % len(texts)]])
        times.append(1000 * (time.perf_counter() - begin))
        number += 1
    p50, p99 = np.percentile(times, [50, 99]).tolist()
    return {"rows_per_second": rows / elapsed, "p50": p50, "p99": p99}


def measure_server(
    server: Server, texts: Texts, shapes: Sequence[tuple[int, int]], seconds: float
) -> list[dict[str, Any]]:
    """A server with each number of clients: with wrk, and answers checked by the client in Python."""
    results = []
    with start(server) as running:
        for clients, count in shapes:
            checked = asyncio.run(run_clients(texts.load(server, running.port, count), clients, seconds))
            measured = run_wrk(texts.load(server, running.port, count), clients, seconds) if has_wrk() else checked
            failures = [*checked.failures(), *(measured.failures() if measured is not checked else [])]
            results.append(
                {
                    "server": server.name, "clients": clients, "texts": count, "memory_mib": running.memory_mib(),
                    "measured": dataclasses.asdict(measured), "checked": dataclasses.asdict(checked),
                    "failures": failures,
                }
            )  # fmt: skip
            print(
                f"{server.name:32} {clients:>3} clients x {count:>2}: {measured.rows_per_second:>7,.0f} rows/s "
                f"(checking {checked.rows_per_second:,.0f}), p50 {measured.p50:.1f}, p95 {measured.p95:.1f}, p99 "
                f"{measured.p99:.1f} ms, {running.memory_mib():.0f} MiB; {'; '.join(failures) or 'no failure'}",
                flush=True,
            )
    return results


def measure_long_run(server: Server, texts: Texts, seconds: float, shape: tuple[int, int]) -> dict[str, Any]:
    """Full load for a while, and SIGTERM in the middle of it."""
    clients, count = shape
    memory: list[tuple[float, float]] = []
    begin = time.perf_counter()
    with start(server) as running:
        load = texts.load(server, running.port, count)

        def sample() -> None:
            memory.append((round(time.perf_counter() - begin, 1), round(running.memory_mib(), 1)))

        def terminate() -> None:
            load.may_close = True
            running.process.send_signal(signal.SIGTERM)

        begin = time.perf_counter()
        measured = asyncio.run(run_clients(load, clients, seconds, every_second=sample, at_end=terminate))
        exit_code = running.process.wait(120)
        # The server logs each request that it has read.
        with open(running.log, "rb") as log:
            accepted = sum(b'"path": "/v1/classify"' in line for line in log)
    settled = [mib for moment, mib in memory if moment >= seconds / 5]
    growth = max(settled) / settled[0] - 1
    failures = measured.failures()
    if accepted != measured.answered:
        failures.append(f"{accepted:,} requests accepted, but {measured.answered:,} answered")
    if exit_code:
        failures.append(f"exit code {exit_code} after SIGTERM")
    if growth > MAX_GROWTH:
        failures.append(f"the memory grew by {growth:.1%} after the first fifth of the time")
    print(
        f"{seconds:.0f} s, {clients} clients: {measured.answered:,} answers, {measured.rows_per_second:,.0f} rows/s; "
        f"{settled[0]:.0f} MiB, {growth:+.1%}; SIGTERM: {accepted:,} accepted, {measured.unread} closed unread; "
        f"{'; '.join(failures) or 'no failure'}",
        flush=True,
    )
    return {
        "seconds": seconds, "clients": clients, "texts": count, "memory": memory, "growth": growth,
        "accepted": accepted, "exit_code": exit_code, "checked": dataclasses.asdict(measured), "failures": failures,
    }  # fmt: skip


def summarize(report: dict[str, Any]) -> dict[str, float]:
    """The two ratios that matter: the best rate of the server and the offline rate; the slow answers of one client and
    of the model. Medians over the rounds."""
    rates, latencies = [], []
    for number, offline in enumerate(report["offline"]):
        own = [one for one in report["loads"] if one["round"] == number and one["server"] == NAME]
        rates.append(max(one["measured"]["rows_per_second"] for one in own) / offline["rows_per_second"])
        latencies.append(own[0]["measured"]["p99"] / offline["p99"])
    return {"share_of_offline_rate": median(rates), "p99_of_one_client_to_model": median(latencies)}


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", help="folder or name; an int8 bundle, on this CPU")
    parser.add_argument("--texts", type=Path, help="file with texts; without it, they are made up as long as tweets")
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--rows", type=int, default=20_000, help="number of different texts")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=0.0, help="of the long run")
    parser.add_argument("--peers", metavar="PYTHON", help="interpreter with infinity-emb, FastAPI and transformers")
    parser.add_argument("--checkpoint", type=Path, help="trained checkpoint for the peers")
    parser.add_argument("--quick", action="store_true", help="a test of this script, in seconds")
    parser.add_argument("--json", required=True, type=Path)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, and writes the results; 1 if an answer was not as it must be."""
    options = parse_arguments(arguments)
    rows, rounds, seconds = (128, 1, 0.25) if options.quick else (options.rows, options.rounds, options.seconds)
    shapes = QUICK_SHAPES if options.quick else SHAPES
    machine = describe_system().to_dict()
    classifier = Classifier.load(options.bundle)
    names = read_texts(options.texts, options.text_column, rows)
    texts = Texts(names, [tuple(row) for row in classifier.score(names).probabilities.tolist()])
    server, work = toxonnx_server(options.bundle), Path(tempfile.mkdtemp(prefix="toxonnx-serving-"))
    try:
        servers = [server, *(peer_servers(options.peers, _model(options.checkpoint, work)) if options.peers else [])]
        report: dict[str, Any] = {
            "texts": {"source": options.texts.name if options.texts else "synthetic", "rows": len(names),
                      "different_scores": len(set(texts.scores))},
            "bundle": classifier.bundle.manifest.name, "wrk": has_wrk(), "offline": [], "loads": [],
            "machine": machine,
        }  # fmt: skip
        for number in range(rounds):
            report["offline"].append(measure_offline(classifier, names, seconds))
            print("offline: {rows_per_second:,.0f} rows/s; one text: p50 {p50:.2f}, p99 {p99:.2f} ms".format(
                **report["offline"][-1]))  # fmt: skip
            for one in servers:
                report["loads"] += [{"round": number, **load} for load in measure_server(one, texts, shapes, seconds)]
        if options.minutes or options.quick:
            clients = QUICK_SHAPES[-1] if options.quick else LONG_RUN
            report["long_run"] = measure_long_run(server, texts, 60 * options.minutes or 1.0, clients)
    finally:
        shutil.rmtree(work)
    report["summary"] = summarize(report)
    print(
        "at best {share_of_offline_rate:.0%} of the offline rate; p99 of one client: {p99_of_one_client_to_model:.2f} "
        "times the model's".format(**report["summary"])
    )
    options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    own = [one for one in report["loads"] if one["server"] == NAME]
    own += [report["long_run"]] if "long_run" in report else []
    failures = [failure for one in own for failure in one["failures"]]
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    return int(bool(failures))


def _model(checkpoint: Path | None, work: Path) -> Path:
    """A checkpoint whose tokenizer truncates where the bundle does: Infinity has no setting for it."""
    from engines import MAX_LENGTH
    from engines import checkpoint as make_checkpoint

    folder = work / "model"
    made = make_checkpoint("minilm", checkpoint, folder)
    if made != folder:
        shutil.copytree(made, folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": MAX_LENGTH}))
    return folder


if __name__ == "__main__":
    sys.exit(main())
