"""JSON lines: every byte is kept, and keys are appended."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from helpers import made_up_scores
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toxonnx.errors import InputError, RowError
from toxonnx.io.base import ReadOptions, WriteOptions, open_sink, open_source
from toxonnx.io.output_columns import COLUMNS, OutputColumns
from toxonnx.io.table import read_table
from toxonnx.labels import Labels

LABELS = Labels(("calm", 'ru"de 100%'))


def _scored(path: Path, kinds: tuple[str, ...] = COLUMNS, prefix: str = "", labels: Labels = LABELS) -> bytes:
    """The output for a file, and to check it, the texts that were read."""
    out = path.with_name("out.jsonl")
    columns = OutputColumns(kinds, labels.names, prefix, labels.multi)
    with open_source(path) as source, open_sink(out, source, columns, WriteOptions("jsonl", force=True)) as sink:
        records = list(source)
        sink.write(records, made_up_scores(len(records), labels))
    return out.read_bytes()


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
TEXTS = st.text(st.characters(), max_size=12)  # with lone surrogates, which only an escape can write


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(
    rows=st.lists(st.tuples(TEXTS, st.dictionaries(st.text(max_size=6), VALUES, max_size=3)) | st.none(), max_size=6),
    separators=st.sampled_from([(", ", ": "), (",", ":"), (" ,\t", " :  ")]),
    inside=st.sampled_from(["", " ", "\t"]),
    end=st.sampled_from(["\n", "\r\n", " \n"]),
    last_end=st.booleans(),
    mark=st.booleans(),
)
def test_objects_keep_their_bytes_and_get_keys(
    tmp_path: Path,
    rows: list[tuple[str, dict[str, Any]] | None],
    separators: tuple[str, str],
    inside: str,
    end: str,
    last_end: bool,
    mark: bool,
) -> None:
    rows = [("first", {}), *rows]
    lines = []
    for row in rows:
        if row is None:
            lines.append(inside)
            continue
        text = json.dumps({**row[1], "comment": {"text": row[0]}}, separators=separators)
        lines.append(f"{{{inside}{text[1:-1]}{inside}}}")
    content = "\ufeff" * mark + end.join(lines) + end * last_end
    path = tmp_path / "in.jsonl"
    path.write_bytes(content.encode())

    with open_source(path) as source:
        get = source.value_getter(["comment.text"])
        texts = [get(record) for record in source]
    if rows[-1] is None and not inside and not last_end:
        rows.pop()  # no line at all
    assert texts == [None if row is None else [row[0]] for row in rows]

    before, after = (io.BytesIO(data).readlines() for data in (content.encode(), _scored(path, prefix="toxonnx_")))
    assert len(before) == len(after)
    scores = made_up_scores(len(before), LABELS)
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        if not old.removeprefix(b"\xef\xbb\xbf").strip():
            assert new == old
            continue
        brace = old.rindex(b"}")
        assert new[:brace] == old[:brace] and new.endswith(b"}" + old[brace + 1 :])
        added = json.loads("{" + new[brace + 2 : new.rindex(b"}")].decode() + "}")
        assert list(added) == [f"toxonnx_{kind}" for kind in COLUMNS]
        assert added["toxonnx_label"] == scores.label_names[i][0]
        assert added["toxonnx_truncated"] is bool(scores.truncated[i]) and added["toxonnx_review"] is False
        assert list(added["toxonnx_probabilities"]) == list(LABELS.names)
        expected = scores.probabilities[i].tolist()
        assert list(added["toxonnx_probabilities"].values()) == pytest.approx(expected, abs=1e-6)
        assert json.loads(new.decode("utf-8-sig"), object_pairs_hook=len) == json.loads(
            old.decode("utf-8-sig"), object_pairs_hook=len
        ) + len(COLUMNS)


def test_what_a_parser_would_change_is_kept(tmp_path: Path) -> None:
    line = (
        '{"id": 1234567890123456789012345678901234567890, "x": 1E400, "a": 1, "a": 2.50, "n": NaN,'
        f' "big": {"9" * 5000}, "text": "caf\\u00e9 \\/ \\ud83d", "t.x": "dot", "t": {{"x": "nested", "y.z": "both"}}}}'
    )
    path = tmp_path / "in.jsonl"
    path.write_text(line)
    assert _scored(path, ("score",)) == f'{line[:-1]}, "score": 0.731059}}'.encode()
    with open_source(path) as source:
        record = next(iter(source))
        assert source.value_getter(["text", "t.x", "t.y.z"])(record) == ["caf\u00e9 / \ud83d", "dot", "both"]


def test_several_labels_are_a_list(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\n{"text": "c"}\n{"text": "d"}\n')
    lines = _scored(path, ("label",), labels=Labels(("x", "y"), "sigmoid")).splitlines()
    assert [json.loads(line)["label"] for line in lines] == [[], ["y"], ["x", "y"], ["x"]]


BAD = {
    "missing": ('{"text": "a"}\n{"txt": "b"}\n', "line 2: there is no key 'text'"),
    "null": ('{"text": "a"}\n\n{"text": null}\n', "line 3: null, not a string, in 'text'"),
    "number": ('{"text": 3.5}\n', "line 1: a number, not a string, in 'text'"),
    "array": ('{"text": "a"}\n[1]\n', "line 2: an array, not a JSON object"),
    "not json": ('{"text": "a"}\n{"text": "b"\n', "line 2: not JSON (column"),
    "two objects": ('{"text": "a"}{"text": "b"}\n', "line 1: not JSON (column 14: Extra data)"),
    "csv": ("text,n\na,1\n", "line 1: not JSON (column 1"),
    "nested": ('{"text": "a"}\n' + "[" * 100_000 + "\n", "line 2: the JSON is nested too deeply"),
    "empty": ("", "is empty"),
    "pretty": ('{\n  "text": "a"\n}\n', "is a JSON file\nConvert it to JSON lines first"),
    "utf-8": (b'{"text": "a"}\n{"text": "caf\xe9"}\n', "line 2: not UTF-8 (byte 0xe9"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_line_without_a_text_is_one_clear_error(tmp_path: Path, name: str) -> None:
    content, message = BAD[name]
    path = tmp_path / "in.jsonl"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError) as caught, open_source(path) as source:
        get = source.value_getter(["text"])
        for record in source:
            get(record)
    assert message in str(caught.value) and str(path) in str(caught.value)


def test_a_bad_line_does_not_hide_the_next(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"text": "a"}\nnonsense \xff\n{"text": "b"}\n')
    texts: list[Any] = []
    with open_source(path) as source:
        get = source.value_getter(["text"])
        for record in source:
            try:
                texts.append(get(record))
            except RowError as error:
                texts.append(error.line)
    assert texts == [["a"], 2, ["b"]]


PIECES = [
    b'{"text": "a"}', b'{"text": "b", "n": {"t": 1}}', b"{", b"}", b'"', b"\n", b"\n", b"\n", b"\r\n", b" ", b"[",
    b"null", b"\0", b"\xff", b"\xef\xbb\xbf", b"{}", b"1e999", b"\\ud800", b"," * 9, b'{"x":' * 990, b"}" * 990,
    b"caf\xc3\xa9",
]  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(data=st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join))
def test_every_line_of_any_bytes_is_a_row_or_an_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(data)
    found: list[str | None] = []
    try:
        with open_source(path) as source:
            texts, cells = source.value_getter(["text"]), source.cell_getter(source.columns)
            for record in source:
                try:
                    cells(record)
                    row = texts(record)
                    found.append(row and row[0])
                except RowError as error:
                    assert str(path) in error.what and error.line == record.line
                    found.append(None)
    except InputError as error:
        assert str(path) in error.what
        assert "is a JSON file" in error.what or not any(map(_text_of, io.BytesIO(data).readlines()))
        return
    assert found == [_text_of(line) for line in io.BytesIO(data).readlines()]


def _text_of(line: bytes) -> str | None:
    """What another reader makes of a line."""
    try:
        value = json.loads(line)
        return value["text"] if isinstance(value["text"], str) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def test_no_key_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "a", "score": 1}\n')
    with pytest.raises(InputError, match="already has the columns to be added: score"):
        _scored(path)
    path.write_text('{"text": "a"}\n' * 200 + '{"text": "a", "label": 1}\n')
    with pytest.raises(RowError, match="line 201: the object already has the key 'label'") as caught:
        _scored(path)
    assert "--prefix" in caught.value.hint
    assert json.loads(_scored(path, prefix="p_").splitlines()[-1])["p_score"] > 0


def test_labels_of_any_type_are_cells_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(
        '{"t": {"text": "a"}, "y": 1}\n\n{"t": {"text": "b"}, "y": true}\n{"y": 2.50, "z": [1, {"k": "v"}]}\n'
    )
    table = read_table(path)
    assert table.columns == {"t.text": ["a", "b", ""], "y": ["1", "true", "2.50"], "z": ["", "", '[1, {"k": "v"}]']}
    assert table.lines == [1, 3, 4]


def test_reading_continues_at_a_position(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(f'{{"text": "caf\u00e9 {i}"}}\n' + "\n" * (i % 3) for i in range(50)))
    with open_source(path) as source:
        records = list(source)
        position = source.position_after(records[20])
    with open_source(path) as source:
        source.seek(position)
        assert list(source) == records[21:]


def test_other_formats_become_objects(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text('id,text\n1,"a ""fine"" day"\n\n2,b\n')
    lines = _scored(path, ("truncated",)).splitlines()
    assert [json.loads(line) for line in lines] == [
        {"id": "1", "text": 'a "fine" day', "truncated": True}, {"id": "2", "text": "b", "truncated": True},
    ]  # fmt: skip
    jsonl = tmp_path / "in.jsonl"
    jsonl.write_text('{"text": "a"}\n')
    columns = OutputColumns(("label",), LABELS.names)
    with open_source(jsonl) as source, pytest.raises(InputError, match="is jsonl, whose nested values") as caught:
        open_sink(tmp_path / "out.csv", source, columns)
    assert "convert" in caught.value.hint


def test_content_decides_where_the_name_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "part-0000"
    path.write_text('{"text": "a"}\n')
    with open_source(path) as source:
        assert source.format == "jsonl"
    path = tmp_path / "in.csv"
    path.write_text('{"text": "a"}\n')
    with pytest.raises(InputError, match="is a file of JSON lines, not csv") as caught:
        open_source(path)
    assert "--input-format jsonl" in caught.value.hint
    with open_source(path, ReadOptions(format="jsonl")) as source:
        assert source.columns == ["text"]
