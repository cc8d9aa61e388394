"""The options of ``toxonnx predict``: checked, and as text for its manifest and for ``--resume``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from toxonnx.io.base import ReadOptions
    from toxonnx.io.remote import Location
    from toxonnx.io.shards import Shard

__all__ = ["PredictOptions", "given_options", "same_bytes"]

#: options that change no byte of the output; all others must be as they were to continue an interrupted run
_HARMLESS = {
    "files", "output", "bundle", "device", "allow_fallback", "threads", "max_batch_tokens", "audit", "max_rejects",
    "strict", "resume", "state_dir", "force", "verbose", "manifest_file", "engine", "ray_address", "ray_workers",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """The options under the names of their parameters; ``toxonnx predict --help`` says what they mean."""

    files: tuple[Location, ...]
    output: Location | None
    into_folder: bool
    text_columns: tuple[str, ...]
    bundle: str | None
    device: str
    allow_fallback: bool
    threads: int | None
    max_batch_tokens: int | None
    review_below: float
    thresholds: dict[str, float]
    long_texts: str | None
    max_windows: int | None
    no_cascade: bool
    audit: float
    audit_stop: bool
    output_columns: tuple[str, ...]
    prefix: str
    reading: ReadOptions
    output_format: str | None
    on_error: str
    max_rejects: int | None
    rejects_file: Location | None
    manifest_file: Location | None
    spreadsheet_safe: bool
    strict: bool
    resume: bool
    state_dir: Path | None
    checkpoint_rows: int
    shard: Shard | None
    engine: str
    ray_address: str | None
    ray_workers: int | None
    force: bool
    verbose: bool

    def check(self) -> None:
        """Checks which go together.

        Raises:
            UsageError: some do not.
        """
        needless = {
            "--max-rejects": self.max_rejects is not None,
            "--rejects": self.rejects_file,
            "--strict": self.strict,
        }
        if self.on_error == "fail" and (given := [option for option, value in needless.items() if value]):
            raise click.UsageError(f"{given[0]} needs --on-error skip or null")
        if "error" in self.output_columns and self.on_error != "null":
            raise click.UsageError("the column error is for --on-error null; without it, no row of the output has one")
        if self.audit_stop and (self.resume or self.shard is not None or not self.audit):
            raise click.UsageError("--audit-stop needs --audit, and does not go with --resume or --shard")
        if self.audit and self.engine == "ray":
            raise click.UsageError("--audit does not go with --engine ray")


def same_bytes(context: click.Context) -> dict[str, str]:
    """The options that decide which bytes the output has, and their values as text; without those that are empty."""
    return {
        max(one.opts, key=len): _as_text(context.params[one.name])
        for one in context.command.params
        if one.name in context.params and one.name not in _HARMLESS and context.params[one.name]
    }


def given_options(context: click.Context) -> dict[str, str]:
    """The options on the command line, and their values as text."""
    return {
        max(one.opts, key=len): _as_text(context.params[one.name])
        for one in context.command.params
        if isinstance(one, click.Option)
        and one.name in context.params
        and context.get_parameter_source(one.name) is ParameterSource.COMMANDLINE
    }


def _as_text(value: object) -> str:
    if isinstance(value, dict):
        return ",".join(f"{name}={number}" for name, number in sorted(value.items()))
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
