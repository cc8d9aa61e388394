"""The start of a text file: its encoding and its byte-order mark."""

from __future__ import annotations

import codecs
import warnings

from toxonnx.errors import InputError
from toxonnx.io.base import ReadOptions, ReadWarning
from toxonnx.io.input_file import InputFile
from toxonnx.io.sniff import Sample, detect_encoding, find_byte_order_mark

__all__ = ["AUTO", "read_start"]

#: stands for what the first bytes of a file suggest
AUTO = "auto"

#: codecs of Python for host names, not for files
_NAME_CODECS = {"idna", "punycode"}


def read_start(file: InputFile, options: ReadOptions) -> tuple[Sample, int]:
    """Finds the encoding of a text file and reads its byte-order mark.

    Returns:
        The first bytes below the mark, with their encoding and no delimiter, and the bytes of the mark.

    Raises:
        InputError: the encoding is unknown, or the first bytes contradict it.

    Warns:
        ReadWarning: the encoding that ``auto`` stands for.
    """
    if AUTO in {options.encoding, options.delimiter}:
        file.wait_for_start()
    encoding = options.encoding
    if encoding == AUTO:
        encoding = detect_encoding(file.start)
        warnings.warn(f"{file.name}: the encoding is taken to be {encoding}", ReadWarning, stacklevel=2)
    sample = Sample(start=file.start, encoding=_codec(encoding), delimiter=",", has_header=options.has_header)
    sample, mark = find_byte_order_mark(file.name, sample)
    file.stream.read(mark)
    return sample, mark


def _codec(encoding: str | None) -> str:
    try:
        name = codecs.lookup("utf-8" if encoding is None else encoding).name
        if name in _NAME_CODECS:
            raise LookupError(name)
        "".encode(name)  # refuses codecs that are not text encodings
    except (LookupError, UnicodeError):
        raise InputError(f"unknown encoding {encoding!r}") from None
    return name
