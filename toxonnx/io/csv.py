"""CSV and TSV: rows come out as they went in, byte for byte, with columns appended."""

from __future__ import annotations

from typing import Any

from toxonnx.io.base import ReadOptions, Source, WriteOptions, require_flat
from toxonnx.io.csv_reader import CsvSource
from toxonnx.io.csv_writer import CsvSink
from toxonnx.io.input_file import InputFile
from toxonnx.io.output_columns import OutputColumns
from toxonnx.io.remote import AnyPath

__all__ = ["open_sink", "open_source"]


def open_source(file: InputFile, options: ReadOptions) -> CsvSource:
    """See :func:`toxonnx.io.base.open_source`."""
    return CsvSource(file, options)


def open_sink(path: AnyPath | None, source: Source[Any], columns: OutputColumns, options: WriteOptions) -> CsvSink:
    """See :func:`toxonnx.io.base.open_sink`."""
    require_flat(source, options)
    return CsvSink(path, source, columns, options)
