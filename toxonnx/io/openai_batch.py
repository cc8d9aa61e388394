"""Batch files of OpenAI's moderation endpoint: one request per line, and one answer per line.

Requests are read as OpenAI's Batch API reads them, and answered as ``toxonnx serve`` answers their bodies. The id of an
answer is made from the line and its number, so that the same file always gets the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

from toxonnx.errors import InputError, RowError
from toxonnx.inference.scores import Scores
from toxonnx.io.base import Position, ReadOptions, Source, WriteOptions, open_output, require_flat
from toxonnx.io.input_file import InputFile
from toxonnx.io.jsonl import JsonlRecord, JsonlSource
from toxonnx.io.output_columns import OutputColumns
from toxonnx.io.rejects import ErrorType, Rejected
from toxonnx.io.remote import AnyPath
from toxonnx.wire.errors import RequestError
from toxonnx.wire.json_body import as_object, get, parse_json, require
from toxonnx.wire.moderations import PATH, error_content, moderation, texts_of

__all__ = ["BatchRecord", "BatchSink", "BatchSource", "open_sink", "open_source"]

COLUMN = "body.input"


class _Refusal(NamedTuple):
    """Why a request gets no scores; ``body`` is that of the answer."""

    status: int
    message: str
    body: Mapping[str, Any]


class _Request(NamedTuple):
    """A line.

    Attributes:
        key: what the ids of its answer are made of.
        custom_id: the caller's name for it; None if there is none.
        raw: the line.
        refusal: why it gets no scores, if it does not.
    """

    key: str
    custom_id: str | None
    raw: str
    refusal: _Refusal | None = None


class BatchRecord(NamedTuple):
    """One text of a request, or a request without one.

    Attributes:
        line: number of the line, from 1.
        end_position: bytes of the (decompressed) input up to the end of the line, for its last text; else up to its
            start.
        request: the line; None for a blank one.
        text: the text; None if the request is refused, and for a blank line.
        is_last: whether the answer is complete with it.
    """

    line: int
    end_position: int
    request: _Request | None = None
    text: str | None = None
    is_last: bool = True


class BatchSource:
    """Reads requests text by text, in bounded memory: a list of strings is as many records.

    Args:
        file: the input, from its start.
        options: how to read it.

    Raises:
        InputError, RowError: see :class:`toxonnx.io.jsonl.JsonlSource`; while reading: a line is not an object.
    """

    #: see :class:`toxonnx.io.base.Source`
    format, unit, is_flat, columns_hint = "openai-batch", "line", False, ""

    def __init__(self, file: InputFile, options: ReadOptions) -> None:
        self._lines = JsonlSource(file, options)
        self.name, self.columns = self._lines.name, [COLUMN]
        # What JSON lines have in common with it.
        self.seek, self.divide, self.bytes_done = self._lines.seek, self._lines.divide, self._lines.bytes_done

    def __iter__(self) -> Iterator[BatchRecord | Rejected]:
        """The texts, in order. A blank line comes as a record without a text."""
        for line in self._lines:
            if isinstance(line, Rejected):
                yield line
            elif line.error is not None:
                raise line.error
            else:
                yield from _records(line)

    def value_getter(self, columns: Sequence[str]) -> Callable[[BatchRecord], list[str] | None]:
        """See :meth:`toxonnx.io.base.Source.value_getter`."""

        def texts(record: BatchRecord) -> list[str] | None:
            request = record.request
            if request is not None and request.refusal is not None:
                hint = "With --on-error null, the answer to such a request is an error, as it is from OpenAI."
                what, kind = request.refusal.message, ErrorType.INVALID_REQUEST
                raise RowError(self.name, record.line, what, hint, error_type=kind, raw=request.raw)
            return None if record.text is None else [record.text]

        return texts

    cell_getter = value_getter

    def can_continue_after(self, record: BatchRecord | Rejected) -> bool:
        """See :meth:`toxonnx.io.base.Source.can_continue_after`."""
        return isinstance(record, Rejected) or record.is_last

    def position_after(self, record: BatchRecord | Rejected) -> Position:
        """See :meth:`toxonnx.io.base.Source.position_after`."""
        return Position(record.end_position, record.line + self.can_continue_after(record))

    @property
    def extent(self) -> int | None:
        """See :attr:`toxonnx.io.base.Source.extent`."""
        return self._lines.extent

    @property
    def size(self) -> int | None:
        """See :attr:`toxonnx.io.base.Source.size`."""
        return self._lines.size

    def __enter__(self) -> BatchSource:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._lines.__exit__(*exc_info)


def _records(line: JsonlRecord) -> Iterator[BatchRecord]:
    """The texts of a line."""
    if line.fields is None:
        yield BatchRecord(line.line, line.end_position)
        return
    custom_id = line.fields.get("custom_id")
    request = _Request(_key(line.line, line.raw), custom_id if type(custom_id) is str else None, line.raw)
    try:
        texts = _texts(line.raw)
    except RequestError as error:
        refusal = _Refusal(error.status, error.message, error_content(error))
        yield BatchRecord(line.line, line.end_position, request._replace(refusal=refusal))
        return
    start = line.end_position - len(line.raw.encode())
    for text in texts[:-1]:
        yield BatchRecord(line.line, start, request, text, is_last=False)
    yield BatchRecord(line.line, line.end_position, request, texts[-1])


def _key(line: int, raw: str) -> str:
    return hashlib.sha256(f"{line} {raw}".encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _texts(raw: str) -> list[str]:
    """The texts of a request.

    Raises:
        RequestError: it is not valid.
    """
    request = as_object(parse_json(raw.removeprefix("\ufeff").encode()))
    require(request.get("custom_id"), str, "custom_id")
    for key, wanted in (("method", "POST"), ("url", PATH)):
        if request.get(key) != wanted:
            raise RequestError("invalid", f"{key} must be {wanted}", field=key)
    body = as_object(request.get("body"))
    texts = texts_of(body.get("input"))
    get(body, "model", str, "")  # any name is answered by the one model there is
    return texts


class BatchSink:
    """Writes the answers to requests.

    Args:
        path: the file; standard output when None.
        options: whose answers they are, and whether to replace the file.

    Raises:
        InputError, MachineError: see :class:`toxonnx.io.atomic.AtomicFile`.
    """

    #: see :attr:`toxonnx.io.base.Sink.columns`
    columns: Sequence[str] = ()

    def __init__(self, path: AnyPath | None, options: WriteOptions) -> None:
        if options.moderator is None:
            raise InputError("the model has no names for OpenAI's categories")
        self._moderator = options.moderator
        self._file = open_output(path, options)
        #: of the request that is not complete yet
        self._results: list[dict[str, Any]] = []

    def write(self, records: Sequence[Any], scores: Scores, errors: Sequence[str | None] | None = None) -> None:
        """See :meth:`toxonnx.io.base.Sink.write`."""
        answers = []
        for row, record in enumerate(records):
            if isinstance(record, Rejected):
                answers.append(_refused(record))
            elif record.text is not None:
                self._results.append(self._moderator.result(scores, row))
                if record.is_last:
                    body = moderation(record.request.key, self._moderator.model, self._results)
                    answers.append(_answer(record.request, 200, body))
                    self._results = []
        self._file.write("".join(answers))

    def checkpoint(self) -> int:
        """See :meth:`toxonnx.io.base.Sink.checkpoint`."""
        return self._file.checkpoint()

    def __enter__(self) -> BatchSink:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.__exit__(kind, error, tb)


def _answer(request: _Request, status: int, body: Mapping[str, Any]) -> str:
    response = {"status_code": status, "request_id": request.key, "body": body}
    return _line(request.key, request.custom_id, response, None)


def _refused(rejected: Rejected) -> str:
    request = rejected.record.request if rejected.record is not None else None
    if request is not None:
        return _answer(request, request.refusal.status, request.refusal.body)
    error = {"code": "invalid_json_line", "message": rejected.message}
    return _line(_key(rejected.line, rejected.raw), None, None, error)


def _line(key: str, custom_id: str | None, response: Mapping[str, Any] | None, error: Mapping[str, str] | None) -> str:
    table = {"id": f"batch_req_{key}", "custom_id": custom_id, "response": response, "error": error}
    return json.dumps(table) + "\n"


def open_source(file: InputFile, options: ReadOptions) -> BatchSource:
    """See :func:`toxonnx.io.base.open_source`."""
    return BatchSource(file, options)


def open_sink(path: AnyPath | None, source: Source[Any], columns: OutputColumns, options: WriteOptions) -> BatchSink:
    """See :func:`toxonnx.io.base.open_sink`. Answers have no columns."""
    require_flat(source, options)
    if not isinstance(source, BatchSource):
        raise InputError(f"{source.name} has no requests to answer", "Add --input-format openai-batch if it has.")
    return BatchSink(path, options)
