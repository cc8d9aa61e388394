"""The outputs of the shards of an input, and how they become one file again.

Next to each output of a shard is a record of it, ``OUT.json``: what was scored and how, and the sha256 of the output.
Only complete outputs have one.
"""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from toxonnx.errors import InputError
from toxonnx.io.atomic import AtomicFile
from toxonnx.io.journal import Identity, InputIdentity
from toxonnx.io.output_file import BUFFER_BYTES
from toxonnx.io.shards import Shard
from toxonnx.io.summary import Summary
from toxonnx.records import to_json

__all__ = ["ShardRecord", "join", "read_record", "write_record"]

_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """What is known of the output of a shard.

    Attributes:
        output: the file.
        shard: which shard.
        format: of the output, a key of :data:`toxonnx.io.formats.FORMATS`.
        identity: what was scored, and how.
        size, sha256: of the output.
        summary: counts.
    """

    output: Path
    shard: Shard
    format: str
    identity: Identity
    size: int
    sha256: str
    summary: Summary


def _path(output: Path) -> Path:
    return output.with_name(f"{output.name}.json")


def write_record(output: Path, shard: Shard, format_: str, identity: Identity, summary: Summary) -> None:
    """Writes the record of an output, which is complete. An earlier one is replaced.

    Raises:
        InputError, MachineError: see :class:`toxonnx.io.atomic.AtomicFile`.
    """
    digest, size = hashlib.sha256(), 0
    for block in _blocks(output):
        digest.update(block)
        size += len(block)
    table = {
        "version": _VERSION, "shard": shard, "format": format_, "identity": asdict(identity), "size": size,
        "sha256": digest.hexdigest(), "summary": vars(summary),
    }  # fmt: skip
    with AtomicFile(_path(output), force=True) as file:
        file.write(to_json(table))


def read_record(output: Path) -> ShardRecord | None:
    """The record of an output; None if there is none.

    Raises:
        InputError: it is damaged, or another version of toxonnx wrote it.
    """
    path = _path(output)
    if not path.is_file():
        return None
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["version"] != _VERSION:
            raise InputError(f"{path} was written by another version of toxonnx", "Score the shard again.")
        identity = table["identity"]
        return ShardRecord(
            output=output,
            shard=Shard(*table["shard"]),
            format=str(table["format"]),
            identity=Identity(**{**identity, "input": InputIdentity(**identity["input"])}),
            size=int(table["size"]),
            sha256=str(table["sha256"]),
            summary=Summary.from_plain(table["summary"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(f"{path} is damaged", "Score the shard again.") from None


def join(whole: Path, target: Path | None = None, *, force: bool = False) -> Summary:
    """Joins the outputs of all shards of an input.

    Args:
        whole: what ``-o`` named when the shards were scored.
        target: the file to write; ``whole`` when None.
        force: replace it if it exists.

    Returns:
        Counts over all shards.

    Raises:
        InputError: a shard is missing, incomplete or changed; or the shards are not of the same input, bundle and
            options; or the file exists.
        MachineError: the disk is full.
    """
    records = _find(whole)
    with AtomicFile(target or whole, force=force, is_raw=True) as file:
        if records[0].format == "parquet":
            from toxonnx.io.parquet_writer import join_files

            for record in records:
                for _ in _checked_blocks(record):
                    pass
            join_files([record.output for record in records], file)
        else:
            for record in records:
                for block in _checked_blocks(record):
                    file.write_bytes(block)
    return Summary.total(record.summary for record in records)


def _find(whole: Path) -> list[ShardRecord]:
    """The records of all shards, in order."""
    if whole.is_dir():
        raise InputError(f"{whole} is a folder", f"Name the output in it, such as {whole / 'posts.csv'}.")
    digits = "[0-9]" * 5
    name = glob.escape(Shard(0, 0).output(whole).name)
    pattern = name.replace("-00000-of-00000", f"-{digits}-of-{digits}")
    found = [read_record(path.with_suffix("")) for path in sorted(whole.parent.glob(f"{pattern}.json"))]
    records = [record for record in found if record is not None and record.shard.output(whole) == record.output]
    if not records:
        raise InputError(f"{whole} has no shards", f"They are made by toxonnx predict --shard 1/N -o {whole.name}.")
    counts = sorted({record.shard.total for record in records})
    if len(counts) > 1:
        listing = " and ".join(map(str, counts))
        raise InputError(f"there are shards of {listing} of {whole}", "Remove those that are out of date.")
    numbers = {record.shard.number for record in records}
    missing = [number for number in range(1, counts[0] + 1) if number not in numbers]
    if missing:
        listing = ", ".join(map(str, missing[:10])) + (" and others" if len(missing) > 10 else "")
        raise InputError(f"{whole}: {len(missing)} of {counts[0]} shards are not complete: {listing}")
    for record in records[1:]:
        difference = _comparable(record.identity).difference(_comparable(records[0].identity), "file")
        if difference:
            raise InputError(
                f"{record.output} does not belong to {records[0].output}: {difference}", "Score one of them again."
            )
    return records


def _comparable(identity: Identity) -> Identity:
    """Without what may differ between the shards: copies of a file on other machines have other times."""
    options = {name: value for name, value in identity.options.items() if name != "--shard"}
    return replace(identity, input=replace(identity.input, modified=0), options=options)


def _checked_blocks(record: ShardRecord) -> Iterator[bytes]:
    """The bytes of an output; raises after the last one if they are not those that were written."""
    digest = hashlib.sha256()
    for block in _blocks(record.output):
        digest.update(block)
        yield block
    if digest.hexdigest() != record.sha256:
        raise InputError(f"{record.output} was changed after it was scored", "Score the shard again.")


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            while block := file.read(BUFFER_BYTES):
                yield block
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
