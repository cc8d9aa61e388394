"""``toxonnx predict`` on the command line, with the bundle that ships."""

from __future__ import annotations

import csv
import gzip
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from helpers import ROOT, SHIPPED, SHIPPED_LABELS, toxonnx, write_csv

from toxonnx import Classifier
from toxonnx.cli import group
from toxonnx.extras import install_command


def _rows(text: str) -> list[list[str]]:
    return list(csv.reader(text.splitlines(keepends=True)))


def test_the_example_is_kept_byte_for_byte_and_scored(tmp_path: Path) -> None:
    source = ROOT / "examples" / "comments.csv"
    done = toxonnx("predict", source, "-o", tmp_path / "out.csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "reading the text from 'comment'" in done.stderr
    assert "8 rows in" in done.stderr and f"rows/s) with {SHIPPED.name}" in done.stderr
    assert "the model reads English only" in done.stderr and f"{SHIPPED.name}/README.md" in done.stderr
    before, after = _rows(source.read_text()), _rows((tmp_path / "out.csv").read_text())
    assert after[0] == [*before[0], "label", "score", *SHIPPED_LABELS]
    assert [row[:3] for row in after] == before
    thresholds = Classifier.load().labels.thresholds
    for row in after[1:]:
        probabilities = dict(zip(SHIPPED_LABELS, map(float, row[5:]), strict=True))
        reached = zip(probabilities.items(), thresholds, strict=True)
        assert row[3] == "|".join(name for (name, probability), threshold in reached if probability >= threshold)
        assert float(row[4]) == max(probabilities.values())
    # To standard output come the same bytes.
    assert toxonnx("predict", source).stdout == (tmp_path / "out.csv").read_text()


def test_any_character_can_be_the_delimiter(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("n%text\n1%what a lovely morning\n", encoding="utf-8")
    done = toxonnx("predict", tmp_path / "in.csv", "--delimiter", "%", "--review-below", "0.5")
    assert done.returncode == 0, done.stderr
    header, row = (line.split("%") for line in done.stdout.splitlines())
    assert header == ["n", "text", "label", "score", *SHIPPED_LABELS, "review"]
    assert row[:2] == ["1", "what a lovely morning"] and len(row) == len(header)


def test_odd_files_keep_their_bytes(tmp_path: Path) -> None:
    # CRLF, a byte-order mark, blank lines, an empty text, a long one, quotes, no line end after the last row;
    # a label column.
    content = (
        "\ufeffid,text,label\r\n1,a fine day,x\r\n\r\n2,,y\r\n3,"
        + "word " * 200_000
        + ',z\r\n4,"a ""fine"", long\r\nday",w\r\n5,last,v'
    )
    path = tmp_path / "odd.csv"
    path.write_bytes(content.encode())
    refused = toxonnx("predict", path)
    assert refused.returncode == 2 and "already has the columns to be added: label\n" in refused.stderr
    assert not refused.stdout and "incomplete" not in refused.stderr
    done = toxonnx("predict", path, "-o", tmp_path / "out.csv", "--prefix", "predicted_")
    assert done.returncode == 0, done.stderr
    header = (tmp_path / "out.csv").read_text(encoding="utf-8-sig").partition("\n")[0]
    names = ("label", "score", *SHIPPED_LABELS)
    assert header == ",".join(["id", "text", "label", *(f"predicted_{name}" for name in names)])
    assert "truncated to 128 tokens: 1 " in done.stderr
    assert "empty, or without a token that the model knows: 1" in done.stderr
    out = (tmp_path / "out.csv").read_bytes().decode()
    records = content.split("\r\n")
    lines = out.split("\r\n")
    assert len(lines) == len(records)
    for before, after in zip(records, lines, strict=True):
        assert after.startswith(before)
    assert lines[2] == "" and not out.endswith("\n")


def test_columns_are_chosen_by_name(tmp_path: Path) -> None:
    poison = f"&#{'9' * 4301};"
    texts = ["a fine day", "", "\N{THUMBS UP SIGN}", "word " * 300, poison]
    source = write_csv(tmp_path / "in.csv", ["text", "truncated"], [[text, "x"] for text in texts])
    arguments = ["predict", str(source), "-o", str(tmp_path / "out.csv"), "--prefix", "predicted_", "--columns"]
    done = CliRunner().invoke(group, [*arguments, "no_tokens,label,truncated,probabilities,review"])
    assert done.exit_code == 0, done.stderr
    assert "empty, or without a token that the model knows: 2\n" in done.stderr
    header, *rows = _rows((tmp_path / "out.csv").read_text(encoding="utf-8"))
    assert header[2:] == [
        "predicted_no_tokens", "predicted_label", "predicted_truncated",
        *(f"predicted_{name}" for name in SHIPPED_LABELS), "predicted_review",
    ]  # fmt: skip
    scores = Classifier.load().score(texts)
    for text, row, prediction in zip(texts, rows, scores, strict=True):
        assert row[:2] == [text, "x"]
        flags = [prediction.no_tokens, "|".join(prediction.labels), prediction.truncated]
        probabilities = [f"{value:.6f}" for value in prediction.probabilities.values()]
        assert row[2:] == [*(str(int(flag)) if isinstance(flag, bool) else flag for flag in flags), *probabilities, "0"]
    assert [row[2] for row in rows] == ["0", "1", "1", "0", "0"] and rows[1][5:] == rows[2][5:]
    for columns, message in (
        ("label,speed", "unknown column 'speed'; choose from label, score"), ("label,label", "label is repeated"),
    ):  # fmt: skip
        with pytest.raises(click.BadParameter, match=message):
            CliRunner().invoke(group, [*arguments, columns], standalone_mode=False, catch_exceptions=False)


def test_bad_rows_are_counted_listed_and_limited(tmp_path: Path) -> None:
    good, bad, out, listed = (tmp_path / name for name in ("good.csv", "bad.csv", "out.csv", "rejects.csv"))
    good.write_bytes(b"text,n\na fine day,1\nwhat a lovely morning,2\n")
    bad.write_bytes(b'text,n\na fine day,1\n"open,2\nwhat a lovely morning,2\ncaf\xe9,3\n')

    def run(*arguments: str | Path, code: int = 0) -> str:
        done = CliRunner().invoke(group, ["predict", *map(str, arguments)], standalone_mode=False)
        assert (getattr(done.exception, "exit_code", None) or done.exit_code) == code, done.exception
        return f"{done.stderr}{done.exception or ''}"

    run(good, "-o", tmp_path / "expected.csv")
    summary = run(bad, "-o", out, "--on-error", "skip", "--rejects", listed, "--max-rejects", "2")
    assert "2 rows in" in summary
    assert "rejected: 2 of 4 rows read (1 unquoted value, 1 invalid encoding)\n" in summary
    assert out.read_bytes() == (tmp_path / "expected.csv").read_bytes()
    assert [row[1:6] for row in _rows(listed.read_text())[1:]] == [
        ["3", "20", "", "UNQUOTED VALUE", '"open,2'],
        ["5", "52", "", "INVALID ENCODING", "caf\\xe9,3"],
    ]
    message = run(bad, "-o", out, "--on-error", "null", "--strict", "--force", code=1)
    assert "2 rows were rejected (--strict)\nThe output is complete." in message
    header, *rows = _rows(out.read_text())
    assert header[-1] == "error" and [row[3] == "" for row in rows] == [False, True, False, True]
    assert rows[1] == [*[""] * (len(header) - 1), "a quote is opened and not closed"]
    message = run(good, bad, "-o", tmp_path / "folder", "--on-error", "skip", "--max-rejects", "1", code=2)
    assert (
        "too many rows are rejected (--max-rejects 1), the last one is " in message
        and "List them with --rejects FILE." in message
    )
    assert "The outputs of 1 of 2 files are complete." in message
    assert [one.name for one in (tmp_path / "folder").iterdir()] == ["good.csv"]
    for arguments, expected in (
        (["--max-rejects", "0"], "--max-rejects needs --on-error skip or null"),
        (["--rejects", listed], "--rejects needs --on-error skip or null"),
        (["--strict", "--on-error", "fail"], "--strict needs --on-error skip or null"),
        (["--columns", "error", "--on-error", "skip"], "the column error is for --on-error null"),
        (["--rejects", bad, "--on-error", "skip", "--force"], "is also an input or an output of this command"),
        (["--rejects", listed, "--on-error", "skip"], "already exists"),
    ):
        assert expected in run(bad, *arguments, code=2)


def test_tsv_and_encodings(tmp_path: Path) -> None:
    path = tmp_path / "in.tsv"
    path.write_bytes("tweet\tn\ncaf\u00e9, a fine one\t1\n".encode("cp1252"))
    refused = toxonnx("predict", path)
    assert refused.returncode == 2
    assert f"{path}, line 2: not UTF-8" in refused.stderr and "--encoding" in refused.stderr
    done = toxonnx("predict", path, "--encoding", "cp1252", "-o", tmp_path / "out.tsv")
    assert done.returncode == 0, done.stderr
    header = "\t".join(["tweet", "n", "label", "score", *SHIPPED_LABELS]).encode()
    assert (tmp_path / "out.tsv").read_bytes().startswith(header + b"\ncaf\xe9, a")


@pytest.mark.parametrize(
    ("content", "options", "code", "message"),
    [
        (None, [], 2, "cannot read"),
        ("", [], 2, "is empty"),
        (
            "id,n\n1,2\n",
            [],
            2,
            "no text column\nIts columns: 'id', 'n'. Name the text column with --text-column",
        ),
        ("id,n\n1,2\n", ["--text-column", "body"], 2, "no column 'body'\nIts columns: 'id', 'n'."),
        ("text;n\na;1\n", [], 2, "try --delimiter semicolon."),
        ("text,n\na,1\nb\n", [], 2, "line 3: 1 field, the header has 2"),
        ('text,n\n"a,1\nb,2\n', [], 2, "line 2: a quote is opened and never closed"),
        ("text,n\na\0,1\n", [], 2, "line 2: a NUL byte"),
        ("text,n\na,1\n", ["--bundle", ""], 2, "the name of the bundle is empty"),
        ("text,n\na,1\n", ["--delimiter", ""], 2, "the delimiter '' is not a single usable character"),
        ("text,n\na,1\n", ["--escape-char", ","], 2, "the escape character and the delimiter are both ','"),
        ("text,n\na,1\n", ["--encoding", "idna"], 2, "unknown encoding 'idna'"),
        ("text,n\na,1\n", ["--bundle", "none"], 2, f"no bundle 'none'\nGive a folder, or one of: {SHIPPED.name}."),
        ("text,n\na,1\n", ["--threads", "0"], 2, "0 is not in the range"),
        ("text,n\na,1\n", ["--encoding", "utf-9"], 2, "unknown encoding 'utf-9'"),
        ("PK\x03\x04 and so on", [], 2, "is a zip archive\nUnpack it first"),
        ("text,n\na,1\n", ["--delimiter", ";;"], 2, "the delimiter ';;' is not a single usable character"),
        ("text,n\na,1\n", ["--encoding", "hex"], 2, "unknown encoding 'hex'"),
    ],
)
def test_wrong_input_is_one_clear_error(
    tmp_path: Path, content: str | None, options: list[str], code: int, message: str
) -> None:
    path = tmp_path / "in.csv"
    if content is not None:
        path.write_text(content)
    done = toxonnx("predict", path, "-o", tmp_path / "out.csv", *options)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ([] if content is None else ["in.csv"])


def test_the_command_line_and_python_give_the_same_scores(tmp_path: Path) -> None:
    # An entity of an entity of an entity: normalising twice would read something else.
    text = "&amp;amp;lt;b&amp;amp;gt; a stupid &amp;#128512; day @ben"
    source = write_csv(tmp_path / "in.csv", ["text"], [[text]])
    row = _rows(toxonnx("predict", source).stdout)[1]
    ((_, expected),) = Classifier.load().stream([text])
    assert row[1] == "|".join(expected.labels)
    assert float(row[2]) == pytest.approx(expected.score, abs=1e-6)


def test_utf_16_comes_back_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    for codec, mark in (("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")):
        path.write_bytes(mark + "text\r\na fine day\r\n".encode(codec))
        done = toxonnx("predict", path, "--encoding", "utf-16", "-o", tmp_path / "out.csv", "--force")
        assert done.returncode == 0, done.stderr
        out = (tmp_path / "out.csv").read_bytes()
        assert out.startswith(mark + "text,label,".encode(codec))
        assert "\r\na fine day,".encode(codec) in out
    path.write_text("text\na fine day\n")
    done = toxonnx("predict", path, "--encoding", "utf-16")
    assert done.returncode == 2 and "has no UTF-16 byte-order mark" in done.stderr


def test_standard_input_is_recognized_by_its_content(tmp_path: Path) -> None:
    lines = [{"id": 1, "comment": {"text": "What a lovely morning!"}}, {"comment": {"text": "a fine day"}, "x": None}]
    content = "\n".join(json.dumps(line) for line in lines)
    command = [sys.executable, "-m", "toxonnx", "predict", "-", "-o", "-", "--text-column", "comment.text"]
    done = subprocess.run(command, input=gzip.compress(content.encode()), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    for before, old, new in zip(lines, content.splitlines(), done.stdout.decode().splitlines(), strict=True):
        assert new.startswith(old[:-1]) and 0 < json.loads(new)["score"] < 1
        assert set(json.loads(new)) - set(before) == {"label", "score", "probabilities"}
    assert b"2 rows in" in done.stderr
    for content, options, message in (
        ("text\na\n", ["--output-format", "text"], "unknown format 'text'; choose from csv, tsv, jsonl, parquet"),
        ("text\na\n", ["--input-format", "xml"], "unknown format 'xml'; choose from csv, tsv, jsonl, text, parquet"),
        ('{"text": null}\n', ["--input-format", "jsonl"], "in.csv, line 1: null, not a string, in 'text'"),
    ):
        (tmp_path / "in.csv").write_text(content)
        refused = toxonnx("predict", tmp_path / "in.csv", *options)
        assert refused.returncode == 2 and message in refused.stderr


def test_several_files_go_to_one_folder(tmp_path: Path) -> None:
    texts = ["What a lovely morning!", "a fine day", "What a stupid idea, honestly."]
    logs, out = tmp_path / "logs", tmp_path / "out"
    (logs / "may").mkdir(parents=True)
    write_csv(logs / "a.csv", ["text"], [[text] for text in texts[:2]])
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (logs / "may" / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "c.txt").write_text("\n".join(texts))
    done = toxonnx("predict", logs, tmp_path / "*.txt", "-o", out, "--columns", "score")
    assert done.returncode == 0, done.stderr
    assert "8 rows of 3 files in" in done.stderr and done.stderr.count("reading the text from 'text'") == 1
    scores = [f"{score:.6f}" for score in Classifier.load().score(texts).top_scores]
    assert [row[-1] for row in _rows((out / "a.csv").read_text())] == ["score", *scores[:2]]
    assert _rows((out / "c.csv").read_text()) == [["text", "score"], *map(list, zip(texts, scores, strict=True))]
    scored = map(json.loads, gzip.decompress((out / "may" / "b.jsonl.gz").read_bytes()).splitlines())
    assert [f"{line['score']:.6f}" for line in scored] == scores

    write_csv(logs / "z.csv", ["body", "message"], [["a", "b"]])
    refused = toxonnx("predict", logs, "-o", tmp_path / "new")
    assert refused.returncode == 2 and "z.csv: several columns may contain the text" in refused.stderr
    assert not (tmp_path / "new").exists()
    (logs / "z.csv").write_text("text,n\na,1\nb\n")
    failed = toxonnx("predict", logs, "-o", tmp_path / "new")
    assert failed.returncode == 2 and "The outputs of 2 of 3 files are complete." in failed.stderr
    assert sorted(path.name for path in (tmp_path / "new").rglob("*.*") if path.is_file()) == [
        "a.csv", "b.jsonl.gz", "journal.jsonl", "journal.jsonl",
    ]  # fmt: skip
    (logs / "z.csv").write_text("text,n\na,1\nb,2\n")
    done = toxonnx("predict", logs, "-o", tmp_path / "new", "--resume")
    assert done.returncode == 0 and "7 rows of 3 files in" in done.stderr, done.stderr
    assert sorted(path.name for path in (tmp_path / "new").rglob("*.*")) == ["a.csv", "b.jsonl.gz", "z.csv"]


def test_an_output_that_exists_is_kept(tmp_path: Path) -> None:
    source, out = write_csv(tmp_path / "in.csv", ["text"], [["a fine day"]]), tmp_path / "out.csv"
    out.write_text("precious")
    refused = toxonnx("predict", source, "-o", out)
    assert refused.returncode == 2 and "already exists" in refused.stderr and "--force" in refused.stderr
    assert out.read_text() == "precious"
    assert toxonnx("predict", source, "-o", out, "--force").returncode == 0
    assert out.read_text().startswith("text,label")


def _limit_file_size() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_a_full_disk_leaves_no_partial_file(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "in.csv", ["text"], [[f"day {i % 50}"] for i in range(3000)])
    if os.path.exists("/dev/full"):  # noqa: PTH110
        done = toxonnx("predict", source, "-o", "/dev/full")
        assert done.returncode == 3
        assert "cannot write /dev/full: the disk is full\nThe output is incomplete; free some space" in done.stderr
    limited = subprocess.run(
        [sys.executable, "-m", "toxonnx", "predict", str(source), "-o", str(tmp_path / "out.csv")],
        capture_output=True, text=True, check=False, preexec_fn=_limit_file_size,
    )  # fmt: skip
    assert limited.returncode == 3
    why = "the file would be larger than the system or a limit allows"
    assert f"out.csv: {why}\nNothing was left under that name" in limited.stderr
    assert "Traceback" not in limited.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["in.csv"]


def test_a_command_that_waits_for_a_pipe_can_be_stopped(tmp_path: Path) -> None:
    pipe = tmp_path / "rows.csv"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [sys.executable, "-m", "toxonnx", "predict", str(pipe), "-o", str(tmp_path / "out.csv")],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with open(pipe, "w", encoding="utf-8") as writer:
        writer.write("text\na fine day\n")
        writer.flush()
        deadline = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 143, errors
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_scoring_needs_no_torch(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "in.csv", ["text"], [["a fine day"]])
    script = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'optimum', 'peft', 'onnx', 'matplotlib'): sys.modules[name] = None\n"
        "from toxonnx.cli import main\n"
        "main()\n"
    )
    bench = ["bench", "--rows", "9", "--rounds", "1", "--latency-samples", "1"]
    for arguments in (["--help"], ["predict", str(source)], ["info"], ["doctor"], bench):
        done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [sys.executable, "-c", script, "bench", "--min-speedup", "2"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "--min-speedup needs another model" in done.stderr
    done = subprocess.run(
        [sys.executable, "-c", script, "train", "x.csv", "--recipe", "minilm-hate", "-o", str(tmp_path / "run")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert install_command("train") in done.stderr


def test_without_onnxruntime_the_error_says_what_to_install(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "in.csv", ["text"], [["a fine day"]])
    script = "import sys; sys.modules['onnxruntime'] = None; from toxonnx.cli import main; main()"
    for arguments in (["predict", str(source)], ["doctor"], ["bench"]):
        done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 3
        assert install_command("cpu") in done.stderr
