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

import numpy as np
import onnx
from helpers import ROOT, SHIPPED
from starlette.testclient import TestClient

from toxonnx.bundle import open_bundle, seal
from toxonnx.inference.options import RuntimeOptions
from toxonnx.labels import Labels
from toxonnx.manifest_verification import Reference
from toxonnx.serve.app import make_app
from toxonnx.serve.options import ServeOptions
from toxonnx.serve.service import Service

ONE_THREAD = RuntimeOptions(threads=1)
MAPPINGS = {
    "perspective": {"TOXICITY": "toxic", "INSULT": "insult"},
    "openai": {"hate": "toxic", "harassment": "insult"},
}


def make_bundle(folder: Path, thresholds: tuple[float, float, float] = (0.4, 0.5, 0.6)) -> Path:
    """The first three labels of the shipped model, with other names; two of them are mapped."""
    return _seal_three(folder, Labels(("toxic", "insult", "calm"), "sigmoid", thresholds), MAPPINGS)


def make_plain_bundle(folder: Path) -> Path:
    """The same as classes, one per text, without thresholds and mappings."""
    return _seal_three(folder, Labels(("sun", "rain", "wind")), {})


def _seal_three(folder: Path, labels: Labels, mappings: dict[str, dict[str, str]]) -> Path:
    shutil.copytree(SHIPPED, folder)
    (folder / "expected.json").unlink()
    graph = onnx.load(folder / "model.onnx")
    (output,) = graph.graph.output
    (last,) = (node for node in graph.graph.node if output.name in node.output)
    last.output[:] = ["all_logits"]
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.arange(3), "first_three"))
    graph.graph.node.append(onnx.helper.make_node("Gather", ["all_logits", "first_three"], [output.name], axis=1))
    output.type.tensor_type.shape.dim[1].dim_value = 3
    onnx.save(graph, folder / "model.onnx")
    config = json.loads((folder / "config.json").read_text())
    names = labels.names
    config["id2label"], config["label2id"] = dict(enumerate(names)), {name: i for i, name in enumerate(names)}
    (folder / "config.json").write_text(json.dumps(config))
    shipped = open_bundle(SHIPPED).manifest
    verification, test = shipped.verification, shipped.verification.test
    metrics = {
        stage: {**one, "per_class": dict(zip(names, one["per_class"].values(), strict=False))}
        for stage, one in test.metrics.items()
    }
    reference = Reference(
        rows=100, rows_from="sentences", mean_tokens=9.5, label_shares=dict(zip(names, (0.25, 0.5, 0.75), strict=True))
    )
    manifest = dataclasses.replace(
        shipped,
        name=folder.name, labels=labels, mappings=mappings, label_descriptions={},
        verification=dataclasses.replace(
            verification, reference=reference, test=dataclasses.replace(test, metrics=metrics)
        ),
        decisions=None, training=None, evaluation={},
    )  # fmt: skip
    seal(folder, manifest)
    return folder


@contextlib.contextmanager
def serving(*bundles: Path, runtime: RuntimeOptions = ONE_THREAD, **options: object) -> Iterator[TestClient]:
    """An application in this process."""
    with TestClient(make_app(Service(bundles, runtime, ServeOptions(**options))), raise_server_exceptions=False) as one:  # type: ignore[arg-type]
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
        server.url = re.findall(r"https?://[\w.:\[\]]+", server.wait_for("listening on"))[0]
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        reader.join()
