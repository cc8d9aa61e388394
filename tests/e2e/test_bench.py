"""``toxonnx bench`` and ``benchmarks/gpu.py``, run as commands."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers import SHIPPED_LABELS, sentences, toxonnx, write_csv


def test_a_bundle_is_compared_with_its_own_run(run: Path, bundles: dict[str, Path], tmp_path: Path) -> None:
    rows = [[text] for text, _ in sentences(60)]
    file = write_csv(tmp_path / "posts.csv", ["text"], [*rows, ["long " * 300], rows[0]])
    done = toxonnx(
        "bench", file, "--bundle", bundles["int8"], "--compare", run, "--rounds", 1, "--latency-samples", 3,
        "--price-per-hour", 2, "--json", tmp_path / "b.json", "--html", tmp_path / "b.html",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "b.json").read_text())
    assert report["texts"]["source"] == "all 62 rows of posts.csv"
    assert (report["texts"]["rows"], report["texts"]["truncated"]) == (62, 1)
    assert report["texts"]["distinct"] == len({row[0] for row in rows}) + 1
    assert report["machine"]["versions"]["onnxruntime"]
    ours, *others = report["candidates"]
    assert [other["name"].split(" (")[0] for other in others] == ["transformers pipeline", "PyTorch sorted"]
    for entry in report["candidates"]:
        samples = entry["samples"]
        assert len(samples["seconds"]) == 1 and len(samples["latency_seconds"]) == 3
        assert entry["rows_per_second"]["max"] == pytest.approx(62 / samples["seconds"][0])
        assert entry["cost_per_million_rows"] == pytest.approx(2 / 3600 * 1e6 / entry["rows_per_second"]["median"])
        assert entry["cold_start"]["peak_memory_mb"] > 20
    for entry in others:  # the same weights, so nearly the same scores
        assert entry["agreement"]["same_label"] >= 0.97
        assert entry["agreement"]["largest_probability_difference"] < 0.1
    assert re.search(r"times as fast as PyTorch sorted", done.stdout)
    page = (tmp_path / "b.html").read_text(encoding="utf-8")
    HTMLParser().feed(page)
    assert page.count("<svg") == 1 and page.count('class="bars"') == 2
    assert "One round: how much the rates vary is unknown." in page and "<b style" not in page
    assert f"{ours['rows_per_second']['median']:,.0f}" in page
    assert not re.findall(r'(?:src|href)="(?!#)', page), "the page loads something"


def test_a_speedup_below_the_minimum_is_exit_code_1(bundles: dict[str, Path], tmp_path: Path) -> None:
    done = toxonnx(
        "bench", "--rows", 20, "--rounds", 1, "--latency-samples", 1, "--bundle", bundles["int8"],
        "--compare", bundles["fp32"], "--min-speedup", 1000,
    )  # fmt: skip
    assert done.returncode == 1
    assert "int8 is" in done.stderr and "--min-speedup requires 1000" in done.stderr
    assert "synthetic texts" in done.stdout


def test_bundles_are_compared_with_each_other_whatever_their_folders_are_called(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    other = tmp_path / r"cost$\frac$"
    shutil.copytree(bundles["fp32"], other)
    write_csv(tmp_path / "posts.csv", ["text"], [["a fine day"], ["a fine day"]])
    done = toxonnx(
        "bench", "posts.csv", "--rounds", 1, "--latency-samples", 1, "--bundle", bundles["int8"], "--compare", other,
        "--html", "b.html", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "b.html").read_text(encoding="utf-8")
    assert page.index(other.name) < page.index("<svg") < page.rindex(other.name)
    assert "PyTorch" not in done.stdout + page  # which would score the repeated text twice


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.csv"], "cannot read missing.csv"),
        (["--bundle", "nowhere"], "nowhere"),
        (["--compare", "nowhere"], "nowhere"),
        (["empty.csv"], "empty.csv has no rows"),
        (["--json", "."], "cannot write .: Is a directory"),
        (["--threads", "10000"], "--threads 10000"),
    ],
)
def test_wrong_usage_is_exit_code_2_with_a_message(tmp_path: Path, arguments: list[str], message: str) -> None:
    write_csv(tmp_path / "empty.csv", ["text"], [])
    done = toxonnx("bench", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr


def test_other_labels_are_refused_before_anything_is_measured(bundles: dict[str, Path]) -> None:
    done = toxonnx("bench", "--compare", bundles["int8"], "--rows", 5)
    assert done.returncode == 2
    assert f"has the labels complaint, praise; the bundle has {', '.join(SHIPPED_LABELS)}" in done.stderr
    assert "round" not in done.stderr


def test_the_gpu_benchmark_has_a_small_mode_for_the_cpu(tmp_path: Path) -> None:
    """Finds errors in the script before it runs on a GPU."""
    out = tmp_path / "new" / "gpu.json"
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", "--small", "--device", "cpu", "--rounds", "1", "--json", str(out)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["check"]["packed"]["same_label_of_clear_rows"] == 1 and report["check"]["spread"] > 0.2
    assert 0 < report["check"]["packed"]["largest_probability_difference"] < 5e-3
    assert set(report["seconds"]) >= {"kernels", "throughput", "latency", "tokenizer", "host", "csv", "profile"}
