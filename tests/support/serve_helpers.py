"""Servers: an application in this process, ``toxonnx serve`` in a process of its own, and a bundle for them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from helpers import ROOT, SHIPPED
from starlette.testclient import TestClient

from toxonnx.bundle import open_bundle, seal
from toxonnx.inference.options import RuntimeOptions
from toxonnx.labels import Labels
from toxonnx.manifest import Reference
from toxonnx.serve.app import make_app
from toxonnx.serve.options import ServeOptions
from toxonnx.serve.service import Service

ONE_THREAD = RuntimeOptions(threads=1)
MAPPINGS = {
    "perspective": {"TOXICITY": "toxic", "INSULT": "insult"},
    "openai": {"hate": "toxic", "harassment": "insult"},
}


def make_bundle(folder: Path, thresholds: tuple[float, float, float] = (0.4, 0.5, 0.6)) -> Path:
    """The shipped model as a multi-label one, with other names for its labels."""
    shutil.copytree(SHIPPED, folder)
    (folder / "expected.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    names = ("toxic", "insult", "calm")
    config["id2label"], config["label2id"] = dict(enumerate(names)), {name: i for i, name in enumerate(names)}
    (folder / "config.json").write_text(json.dumps(config))
    shipped = open_bundle(SHIPPED).manifest
    reference = Reference(
        rows=100, rows_from="sentences", mean_tokens=9.5, label_shares=dict(zip(names, (0.25, 0.5, 0.75), strict=True))
    )
    manifest = dataclasses.replace(
        shipped,
        name="tone", labels=Labels(names, "sigmoid", thresholds), mappings=MAPPINGS, label_descriptions={},
        verification=dataclasses.replace(shipped.verification, reference=reference),
        decisions=None, training=None, evaluation={},
    )  # fmt: skip
    seal(folder, manifest)
    return folder


@contextlib.contextmanager
def serving(*bundles: Path, **options: object) -> Iterator[TestClient]:
    """An application in this process."""
    with TestClient(
        make_app(Service(bundles, ONE_THREAD, ServeOptions(**options))), raise_server_exceptions=False
    ) as one:  # type: ignore[arg-type]
        yield one


@dataclass
class RunningServer:
    """``toxonnx serve`` in a process."""

    process: subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, pattern: str, count: int = 1) -> str:
        """The line of standard error that matches, which may still come."""
        found: list[str] = []

        def is_there() -> bool:
            found[:] = [line for line in self.lines if re.search(pattern, line)]
            return len(found) >= count or self.process.poll() is not None

        with self._changed:
            assert self._changed.wait_for(is_there, 120), self.lines
        assert len(found) >= count, self.lines
        return found[count - 1]

    def read(self) -> None:
        """Collects the lines of standard error; runs in a thread."""
        assert self.process.stderr
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(line.rstrip())
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


@contextlib.contextmanager
def running(*arguments: object) -> Iterator[RunningServer]:
    """A server on a free port."""
    # A server needs none of these.
    blocked = ("torch", "transformers", "optimum", "peft", "onnx", "matplotlib", "sklearn", "pandas")
    script = f"import sys\nfor name in {blocked}: sys.modules[name] = None\nfrom toxonnx.cli import main\nmain()"
    command = [sys.executable, "-c", script, "serve", "--port", "0", "--threads", "1", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    server = RunningServer(process)
    reader = threading.Thread(target=server.read)
    reader.start()
    try:
        server.url = server.wait_for("listening on").partition("listening on ")[2]
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        reader.join()
