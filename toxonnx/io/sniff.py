"""What the first bytes of a file reveal: another format, its encoding, its delimiter, a header in another line.

It recognizes formats, and makes error messages name the options that a file needs, all of them at once. How a file is
read depends on it only where nobody said how: an unknown suffix, ``--encoding auto``, ``--delimiter auto``.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from toxonnx.errors import InputError
from toxonnx.io.header import has_usual_text_column, looks_like_data

__all__ = [
    "DELIMITERS",
    "Sample",
    "Signature",
    "delimiter_name",
    "detect_encoding",
    "find_byte_order_mark",
    "recognize",
]

#: names for ``--delimiter``, which need no quoting in a shell; the names that Miller uses
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "space": " "}

_UNPACK = "Decompress it first, for example with {}."
_SPREADSHEET = "Save it as CSV (UTF-8) first."
_DUCKDB = "Convert it to Parquet or CSV first, for example with DuckDB or pandas."


class Signature(NamedTuple):
    """What files of a kind start with.

    Attributes:
        start: the first bytes.
        what: what such a file is.
        advice: what to do, if it cannot be read.
        format: the key in :data:`toxonnx.io.formats.FORMATS` of those that can.
        is_text: whether a file of plain text may start like this, too.
    """

    start: re.Pattern[bytes]
    what: str
    advice: str
    format: str = ""
    is_text: bool = False


_SIGNATURES = tuple(
    Signature(re.compile(start, re.DOTALL), *rest)
    for start, *rest in (
        (rb"\x1f\x8b", "compressed with gzip", _UNPACK.format("gunzip")),
        (rb"\x28\xb5\x2f\xfd", "compressed with zstd", _UNPACK.format("unzstd")),
        (rb"\xfd7zXZ\0", "compressed with xz", _UNPACK.format("unxz")),
        (rb"BZh[1-9]1AY&SY", "compressed with bzip2", _UNPACK.format("bunzip2")),
        (rb"\x04\x22\x4d\x18", "compressed with lz4", _UNPACK.format("unlz4")),
        (rb"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "Unpack it first, for example with 7z x."),
        (rb".{257}ustar(\0|  \0)", "a tar archive", "Unpack it first, for example with tar -xf."),
        (rb"PK\x03\x04.{26}(\[Content_Types\]\.xml|_rels/|docProps/|xl/)", "an Excel workbook", _SPREADSHEET),
        (rb"PK\x03\x04.{26}mimetypeapplication/vnd\.oasis", "an OpenDocument file", _SPREADSHEET),
        (rb"PK\x03\x04", "a zip archive", "Unpack it first, for example with unzip."),
        (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook or another Office file", _SPREADSHEET),
        (rb"PAR1[\x00-\x08\x0e-\x1f]", "a Parquet file", _DUCKDB, "parquet"),
        (rb"Obj\x01", "an Avro file", _DUCKDB),
        (rb"ORC[\x00-\x08\x0e-\x1f]", "an ORC file", _DUCKDB),
        (
            rb"\x89HDF\r\n|\x93NUMPY|\x80[\x02-\x05]",
            "a file of arrays or Python objects",
            "Convert it to CSV first, in Python.",
        ),
        (rb"\x89PNG|\xff\xd8\xff|GIF8[79]a", "a picture", "Extract its texts into a CSV file first."),
        (rb"ARROW1\0|\xff\xff\xff\xff", "an Arrow or Feather file", _DUCKDB),
        (rb"SQLite format 3\0", "a SQLite database", "Export a table first: sqlite3 -header -csv FILE 'SELECT ...'"),
        (rb"%PDF-", "a PDF document", "Extract its texts into a CSV file first."),
        (rb"(?i)\s*<(!doctype|html|\?xml)", "an HTML or XML page", "Was a page downloaded in place of it?", "", True),
        (rb"version https://git-lfs", "a Git LFS pointer", "Fetch the file with: git lfs pull", "", True),
        # The second form is the start of a long line, or of one that has not come through a pipe yet.
        (rb'\s*\{[ \t]*("[^\n]*\}\s*(\n|$)|"[^\n]*$)', "a file of JSON lines", "", "jsonl", True),
        (
            rb'\s*(\{|\[\s*[\[{]?)\s*"',  # names of columns may have brackets
            "a JSON file",
            "Convert it to JSON lines first, for example with jq -c '.[]'.",
            "",
            True,
        ),
    )
)
_JSON = _SIGNATURES[-1]

#: the longer ones first: the mark of UTF-32 starts with that of UTF-16
_BYTE_ORDER_MARKS = {
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
}

#: bytes that are looked at for the delimiter and the header, and rows among which the header is searched
_SAMPLE_BYTES, _HEADER_ROWS = 1 << 16, 20


def recognize(start: bytes, wanted: str | None = None, *, is_named: bool = False) -> Signature | None:
    """What a file is by its first bytes; None if it may be the format that is wanted, or is not recognized.

    Args:
        start: the first bytes.
        wanted: a key of :data:`toxonnx.io.formats.FORMATS`; None if any will do.
        is_named: whether the user named that format, and not only the suffix.
    """
    start = start.removeprefix(codecs.BOM_UTF8)
    found = next((signature for signature in _SIGNATURES if signature.start.match(start)), None)
    if found is None or (wanted is not None and found.format == wanted) or (wanted == "text" and found.is_text):
        return None
    if wanted == "jsonl" and found is _JSON and (is_named or _has_objects(start)):
        return None
    return found


def _has_objects(start: bytes) -> bool:
    """Whether a file that starts like a JSON file has lines that are objects: then its first one is only a bad row."""
    lines = start.lstrip().split(b"\n")
    if lines[0].rstrip().endswith((b"[", b"{", b",")):  # an array with an object per line
        return False
    return any(line.startswith(b"{") and _is_object(line) for line in lines)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def detect_encoding(start: bytes) -> str:
    """The encoding that the first bytes of a text suggest: a marked one, UTF-16, UTF-8, else cp1252."""
    for name, mark in _BYTE_ORDER_MARKS.items():
        if start.startswith(mark):
            return name.removesuffix("-le").removesuffix("-be")
    wide = _without_mark(start)
    if wide:
        return wide
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def delimiter_name(delimiter: str) -> str:
    """A delimiter as an argument of ``--delimiter``."""
    return next((name for name, mark in DELIMITERS.items() if mark == delimiter), f"'{delimiter}'")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The start of a text file, as far as it was read ahead, for hints only.

    Attributes:
        start: its first bytes.
        encoding: how it is decoded.
        delimiter: how it is separated.
        has_header: whether its first line is read as the header.
        skipped_lines: lines above ``start``.
    """

    start: bytes
    encoding: str
    delimiter: str
    has_header: bool
    skipped_lines: int = 0

    @cached_property
    def _rows(self) -> list[tuple[int, list[str]]]:
        """The first rows, the header among them, with the line in which each ends."""
        text = self.start[:_SAMPLE_BYTES].decode(self.encoding, "replace").replace("\0", "")
        lines = list(io.StringIO(text, newline=""))
        if len(lines) > 1 and len(self.start) > _SAMPLE_BYTES:
            lines.pop()  # it may be cut
        reader = csv.reader(lines, delimiter=self.delimiter)
        try:
            return [(reader.line_num + self.skipped_lines, row) for row in reader if row]
        except csv.Error:
            return []

    @cached_property
    def _decodes(self) -> bool:
        try:
            codecs.getincrementaldecoder(self.encoding)().decode(self.start)
        except UnicodeError:
            return False
        return True

    @cached_property
    def _other_delimiter(self) -> str | None:
        """A delimiter that the header suggests, where it has a single field."""
        header = self._rows[0][1] if self._rows and self.has_header else []
        counts = Counter(mark for mark in header[0] if mark in ",;\t|") if len(header) == 1 else Counter()
        return max(counts, key=lambda mark: counts[mark], default=None)

    @cached_property
    def header_is_data(self) -> bool:
        """Whether the line that is read as the header is probably a row."""
        if not self._rows or not self.has_header:
            return False
        (_, header), *others = self._rows
        columns = {name: [row[i] for _, row in others if i < len(row)] for i, name in enumerate(header)}
        return looks_like_data(columns, list(columns))

    @cached_property
    def _header_line(self) -> int | None:
        """The line that is probably the header, if it is not the first one."""
        rows = self._rows[:_HEADER_ROWS]
        if not rows or not self.has_header or has_usual_text_column(rows[0][1]):
            return None
        for number, (line, row) in enumerate(rows):
            widths = {len(later) for _, later in rows[number:]}
            is_below_a_title = len(rows[0][1]) == 1 < len(row) and widths == {len(row)}
            if number and (is_below_a_title or (has_usual_text_column(row) and len(set(row)) == len(row))):
                return line
        return None

    def detect_delimiter(self) -> str:
        """The delimiter by which the most rows have as many fields as the first, and at least two; else a comma."""

        def fit(delimiter: str) -> tuple[int, int]:
            widths = [len(row) for _, row in replace(self, delimiter=delimiter)._rows]
            return (widths.count(widths[0]), widths[0]) if widths and widths[0] > 1 else (0, 0)

        return max(",;\t|", key=fit)

    def options(self, encoding: str = "") -> str:
        """The options that the file seems to need, with an encoding if one is given."""
        options = [f"--encoding {encoding}"] if encoding else []
        options += [f"--delimiter {delimiter_name(self._other_delimiter)}"] if self._other_delimiter else []
        return " ".join(options)

    def encoding_hint(self) -> str:
        """What to do if the file does not decode."""
        return f"Give the file's encoding with --encoding, for example {self.options('cp1252')}."

    def columns_hint(self) -> str:
        """What may be wrong if the header lacks the expected columns; empty if nothing is suspected."""
        if self._header_line:
            return f"The first line is not the header; line {self._header_line} may be. Remove the lines above it."
        if self._other_delimiter:
            seems = "" if self._decodes else f", and the file is not {self.encoding.upper()}"
            return f"Only one column was found{seems}; try {self.options('' if self._decodes else 'cp1252')}."
        if self._rows and "\ufffd" in "".join(self._rows[0][1]):
            return f"The header has bytes that are not {self.encoding.upper()}. {self.encoding_hint()}"
        if self.header_is_data:
            return (
                "The first line looks like a row, not like a header: add a header, or use --no-header, or "
                "--input-format text if each line is a text."
            )
        return ""


def find_byte_order_mark(name: str, sample: Sample) -> tuple[Sample, int]:
    """Checks the requested encoding of a file by its first bytes.

    Args:
        name: of the file, for error messages.
        sample: the first bytes, with the requested encoding as Python spells it.

    Returns:
        The sample below the byte-order mark, with the encoding of what follows it, and the bytes of the mark.

    Raises:
        InputError: the bytes contradict the encoding.
    """
    start, codec = sample.start, sample.encoding
    found = next((one for one, mark in _BYTE_ORDER_MARKS.items() if start.startswith(mark)), None)
    if found:
        mark = len(_BYTE_ORDER_MARKS[found])
        below = replace(sample, start=start[mark:], encoding=found)
        family = found.removesuffix("-le").removesuffix("-be")
        if codec not in {found, family, f"{family}-sig"}:
            raise InputError(f"{name} looks like {family.upper()}", f"Add {below.options(family)}.")
        return below, mark
    wide = _without_mark(start)
    if codec in {"utf-16", "utf-32"}:
        example = wide or f"{codec}-le or {codec}-be"
        raise InputError(f"{name} has no {codec.upper()} byte-order mark", f"Use --encoding {example}.")
    if wide and not codec.startswith(("utf-16", "utf-32")):
        options = replace(sample, encoding=wide).options(wide)
        raise InputError(f"{name} looks like UTF-16 without a byte-order mark", f"Add {options}.")
    return replace(sample, encoding=codec.removesuffix("-sig")), 0


def _without_mark(start: bytes) -> str | None:
    """The byte order of UTF-16 whose characters are mostly ASCII: every other byte is NUL."""
    half = len(start[:_SAMPLE_BYTES]) // 2
    shares = [start[offset : 2 * half : 2].count(0) / max(half, 1) for offset in (0, 1)]
    if half > 1 and max(shares) > 0.5 and min(shares) < 0.1:
        return "utf-16-be" if shares[0] > shares[1] else "utf-16-le"
    return None
