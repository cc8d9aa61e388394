"""Shards of an input, one for each of several processes: where each starts and ends, and what its output is called.

The shards of an input follow each other: their outputs, one after the other, are the output of the whole. Where one
starts depends on the input and on the number of shards only, so that processes need not know of each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from toxonnx.errors import InputError
from toxonnx.io.base import Position, ReadOptions, Source, open_source
from toxonnx.io.compression import compression_of_name
from toxonnx.io.input_file import STDIN, is_pipe
from toxonnx.io.remote import Location, RemotePath

__all__ = ["Shard", "ShardRange", "divide_by_reading", "find_range", "parse_shard", "records_before"]

L = TypeVar("L", Path, RemotePath, Location)


class Shard(NamedTuple):
    """One of ``total`` shards; ``number`` is counted from 1."""

    number: int
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def output(self, whole: L) -> L:
        """The output of this shard of ``out.csv``, such as ``out-00003-of-00016.csv``."""
        compression = whole.suffix if compression_of_name(whole) else ""
        plain = whole.with_suffix("") if compression else whole
        return plain.with_name(f"{plain.stem}-{self.number:05}-of-{self.total:05}{plain.suffix}{compression}")


class ShardRange(NamedTuple):
    """The records of a shard: from ``start``, or the first one if that is None, to offset ``end``, or the last one."""

    start: Position | None
    end: int | None


def parse_shard(text: str) -> Shard:
    """The shard that ``3/16`` names.

    Raises:
        InputError: it names none.
    """
    found = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text)
    shard = Shard(int(found[1]), int(found[2])) if found else Shard(0, 0)
    if not 1 <= shard.number <= shard.total:
        raise InputError(f"{text!r} is not a shard such as 3/16", "Shards are counted from 1: 1/16 to 16/16.")
    return shard


def find_range(path: Location, options: ReadOptions, shard: Shard) -> ShardRange:
    """Finds where a shard of an input starts and ends, by reading what precedes it.

    Raises:
        InputError: it cannot be divided; or a record before the shard cannot be read.
    """
    if is_pipe(path):
        name = "standard input" if path == STDIN else path
        raise InputError(f"{name} can only be read once, so it has no shards", "Save it to a file, and score that.")
    with open_source(path, options) as source:
        if source.size is None:
            raise InputError(f"{source.name} is of unknown size, so it has no shards", "Download it first.")
        if shard.total == 1:
            return ShardRange(None, None)
        extent = source.extent
        if extent is None:
            raise InputError(
                f"{source.name} cannot be divided into shards, since it is compressed",
                "Decompress it to a file; or let each process score some of several files.",
            )
        inner = range(max(shard.number - 1, 1), min(shard.number, shard.total - 1) + 1)
        places = dict(zip(inner, source.divide([extent * number // shard.total for number in inner]), strict=True))
        start, end = places.get(shard.number - 1), places.get(shard.number)
        return ShardRange(start, None if end is None else end.offset)


def divide_by_reading(source: Source[Any], offsets: Sequence[int]) -> list[Position]:
    """What :meth:`toxonnx.io.base.Source.divide` returns, for formats in which only reading tells where records end."""
    places: list[Position] = []
    place = Position(0, 1)
    for record in source:
        if len(places) == len(offsets):
            return places
        if source.can_continue_after(record):
            place = source.position_after(record)
            while len(places) < len(offsets) and place.offset >= offsets[len(places)]:
                places.append(place)
    # In a file without records, or where reading cannot be continued, all are in the first shard.
    return places + [place._replace(offset=max(place.offset, source.extent or 0))] * (len(offsets) - len(places))


def records_before(records: Iterator[Any], start: Position, end: int) -> Iterator[Any]:
    """The records that start before offset ``end``, of those from ``start`` on."""
    place = start.offset
    for record in records:
        if place >= end:
            return
        yield record
        place = record.end_position
