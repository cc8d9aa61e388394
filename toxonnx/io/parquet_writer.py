"""How a Parquet file is written: like the one that was read, to a file that need not be seekable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from toxonnx.io.atomic import AtomicFile

__all__ = ["Output", "Settings", "leaves"]


def leaves(fields: Any, prefix: str = "", path: tuple[int, ...] = ()) -> Iterator[tuple[str, tuple[int, ...], Any]]:
    """Name, path and type of each field that is not a struct."""
    for index, one in enumerate(fields):
        if pa.types.is_struct(one.type):
            yield from leaves(list(one.type), f"{prefix}{one.name}.", (*path, index))
        else:
            yield prefix + one.name, (*path, index), one.type


@dataclass(frozen=True)
class Settings:
    """How a file was written, as far as another one can be written alike.

    Attributes:
        metadata: its key-value pairs, without the Arrow schema.
        codecs: path of a column -> its codec.
        int96: whether it has the timestamps of Spark.
        compliant: whether the items of its lists are called as the specification says.
    """

    metadata: dict[bytes, bytes] = field(default_factory=dict)
    codecs: dict[str, str] = field(default_factory=dict)
    int96: bool = False
    compliant: bool = True

    @classmethod
    def of(cls, metadata: pq.FileMetaData) -> Settings:
        """Those of a file; codecs are those of its first row group."""
        pairs = {key: value for key, value in (metadata.metadata or {}).items() if key != b"ARROW:schema"}
        group = metadata.row_group(0) if metadata.num_row_groups else None
        columns = [group.column(i) for i in range(group.num_columns)] if group else []
        return cls(
            pairs,
            {one.path_in_schema: _WRITER_CODECS.get(one.compression, one.compression) for one in columns},
            any(one.physical_type == "INT96" for one in columns),
            not any(".list.item" in one.path_in_schema for one in columns),
        )

    def arguments(self, added: Sequence[pa.Field]) -> dict[str, Any]:
        """Arguments of ``ParquetWriter``; the added columns get the most frequent codec."""
        codec = Counter(self.codecs.values() or ["SNAPPY"]).most_common(1)[0][0]
        item = "element" if self.compliant else "item"
        paths = [f"{name}.list.{item}" if pa.types.is_list(kind) else name for name, _, kind in leaves(added)]
        return {
            "compression": {**dict.fromkeys(paths, codec), **self.codecs} if self.codecs else codec,
            "use_deprecated_int96_timestamps": self.int96,
            "use_compliant_nested_type": self.compliant,
        }


#: names of codecs in metadata -> those that a writer takes, where they differ
_WRITER_CODECS = {"UNCOMPRESSED": "NONE", "LZ4_RAW": "LZ4"}


class Output:
    """What pyarrow writes to: an output file, also one that has no position, such as a pipe."""

    def __init__(self, file: AtomicFile) -> None:
        self._file, self._position = file, 0
        self.closed = self.discard = False

    def write(self, data: Any) -> int:
        """Writes bytes, unless they are to be discarded."""
        count = memoryview(data).nbytes
        if not self.discard:
            self._file.write_bytes(data)
        self._position += count
        return count

    def tell(self) -> int:
        """Bytes so far."""
        return self._position

    def flush(self) -> None:
        """Nothing is held here."""

    def close(self) -> None:
        """The file closes itself."""
