"""toxonnx bench and toxonnx doctor, as people call them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from helpers import sentences, toxonnx, write_csv

from toxonnx.bench.report import cold_start, padding, summary
from toxonnx.bench.run import Candidate
from toxonnx.errors import MachineError
from toxonnx.labels import Labels
from toxonnx.system import available_cores


def test_a_bundle_beside_its_own_run(run: Path, bundles: dict[str, Path], tmp_path: Path) -> None:
    rows = [[text] for text, _ in sentences(60)]
    file = write_csv(tmp_path / "posts.csv", ["text"], [*rows, ["long " * 300], rows[0]])
    done = toxonnx(
        "bench", file, "--bundle", bundles["int8"], "--compare", run, "--rounds", 2, "--latency-samples", 3,
        "--price-per-hour", 2, "--json", tmp_path / "b.json", "--html", tmp_path / "b.html",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "b.json").read_text())
    assert report["texts"]["from"] == "all 62 rows of posts.csv"
    assert (report["texts"]["rows"], report["texts"]["truncated"]) == (62, 1)
    assert report["texts"]["distinct"] == len({row[0] for row in rows}) + 1
    assert report["machine"]["versions"]["onnxruntime"]
    ours, *others = report["candidates"]
    assert [one["name"].split(",")[0] for one in others] == ["transformers pipeline", "PyTorch sorted"]
    for one in report["candidates"]:
        samples = one["samples"]
        assert len(samples["seconds"]) == 2 and len(samples["latency_seconds"]) == 6
        assert one["rows_per_second"]["max"] == pytest.approx(62 / min(samples["seconds"]))
        assert one["cost_per_million_rows"] == pytest.approx(2 / 3600 * 1e6 / one["rows_per_second"]["median"])
        assert one["cold_start"]["peak_memory_mb"] > 20
    for one in others:  # the same weights, so nearly the same scores
        assert one["agreement"]["same_label"] >= 0.97
        assert one["agreement"]["largest_probability_difference"] < 0.1
    assert re.search(r"times as fast as PyTorch sorted", done.stdout)
    page = (tmp_path / "b.html").read_text(encoding="utf-8")
    HTMLParser().feed(page)
    assert page.count("<svg") == 3
    assert f"{ours['rows_per_second']['median']:,.0f}" in page
    assert not re.findall(r'(?:src|href)="(?!#)', page), "the page fetches something"


def test_slower_than_asked_is_exit_code_1(bundles: dict[str, Path], tmp_path: Path) -> None:
    done = toxonnx(
        "bench", "--rows", 20, "--rounds", 1, "--latency-samples", 1, "--bundle", bundles["int8"], "--compare", bundles["fp32"],
        "--min-speedup", 1000,
    )  # fmt: skip
    assert done.returncode == 1
    assert "int8 is" in done.stderr and "1000 times was asked for" in done.stderr
    assert "made-up texts" in done.stdout


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
def test_wrong_usage_is_one_clear_error(tmp_path: Path, arguments: list[str], message: str) -> None:
    write_csv(tmp_path / "empty.csv", ["text"], [])
    done = toxonnx("bench", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr


def test_other_labels_are_refused_before_anything_is_measured(bundles: dict[str, Path]) -> None:
    done = toxonnx("bench", "--compare", bundles["int8"], "--rows", 5)
    assert done.returncode == 2
    assert "has the labels complaint, praise; the bundle has hate, offensive, neither" in done.stderr
    assert "round" not in done.stderr


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    """A folder with a module of engines that take a known time."""
    (tmp_path / "toys.py").write_text(
        textwrap.dedent("""
            import time
            import numpy as np

            def sleeper(seconds, sign=1.0):
                print("an engine may print what it likes")

                def score(texts):
                    time.sleep(seconds)
                    return np.array([[sign * len(text), 0.0] for text in texts], dtype=np.float32)

                return score

            def broken():
                raise RuntimeError("the engine has no oil")

            def quitter():
                def score(texts):
                    raise SystemExit("out of oil")

                return score
            """),
        encoding="utf-8",
    )
    return tmp_path


def test_a_race_says_who_is_slower(toys: Path) -> None:
    def candidate(name: str, seconds: float, sign: float = 1.0) -> Candidate:
        return Candidate(name, "toys:sleeper", {"seconds": seconds, "sign": sign}, 1, (str(toys),))

    texts = ["a", "bb", "ccc"]
    results = run_benchmark(
        [candidate("ours", 0.06), candidate("fast", 0.02), candidate("slow", 0.12, -1)], texts, rounds=3, singles=2
    )
    assert results["ours"]["scores"].tolist() == [[1, 0], [2, 0], [3, 0]]
    ours, fast, slow = summary(
        results, len(texts), Labels(("a", "b")), comparable=frozenset(results), price_per_hour=None
    )
    assert ours["ratio"] == {"median": 1, "min": 1, "max": 1}
    assert fast["ratio"]["max"] < 1 < slow["ratio"]["min"]
    assert fast["agreement"]["same_label"] == 1 and slow["agreement"]["same_label"] == 0
    assert len(ours["samples"]["latency_seconds"]) == 6 and ours["latency_ms"]["p50"] >= 60


@pytest.mark.parametrize(("factory", "said"), [("broken", "the engine has no oil"), ("quitter", "out of oil")])
def test_an_engine_that_breaks_is_named(toys: Path, factory: str, said: str) -> None:
    with pytest.raises(MachineError, match=f"the bad one stopped .*{said}"):
        run_benchmark([Candidate("the bad one", f"toys:{factory}", {}, 1, (str(toys),))], ["a"], rounds=1, singles=1)


def test_a_cold_start_measures_the_command_and_not_its_parent() -> None:
    ballast = np.ones(40_000_000)  # 320 MB here must not be counted there
    measured = cold_start([sys.executable, "-S", "-c", "import time; time.sleep(0.2)"], 2)
    assert ballast.sum() > 0
    assert len(measured["seconds"]) == 2 and min(measured["seconds"]) >= 0.2
    assert measured["peak_memory_mb"] < 60
    with pytest.raises(MachineError, match="exit code 5"):
        cold_start([sys.executable, "-c", "raise SystemExit(5)"], 1)


def test_padding_is_what_batches_waste() -> None:
    lengths = np.array([2, 10, 2, 10])
    assert padding(lengths, 2, ordered=False) == pytest.approx(16 / 40)
    assert padding(lengths, 2, ordered=True) == 0
    assert padding(lengths, 1, ordered=False) == 0


def test_doctor_shows_the_plan(bundles: dict[str, Path]) -> None:
    done = toxonnx("doctor", "--json", "--bundle", bundles["int8"])
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["plan"]["threads"] == report["machine"]["cores"] == available_cores()
    assert report["plan"]["precision"] == "int8" and report["extras"]["cpu"] == []
    screen = toxonnx("doctor").stdout
    assert "minilm-hate-int8: int8, layout plain, on CPUExecutionProvider" in screen
    verbose = toxonnx("predict", "-v", "--threads", 1, "examples/comments.csv", cwd=Path(__file__).parents[2])
    assert "layout plain, on CPUExecutionProvider; 1 batches at a time" in verbose.stderr


def test_the_script_for_a_gpu_runs_where_none_is(tmp_path: Path) -> None:
    """So that a card's time is not spent on its faults."""
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
