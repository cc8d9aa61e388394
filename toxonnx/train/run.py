"""The metadata of a run, ``run.json``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toxonnx.errors import CheckpointError, InputError
from toxonnx.records import from_plain, read_json

__all__ = ["RUN_FILE", "AdapterSettings", "FileIdentity", "RunIdentity", "RunMetadata", "SourceSummary", "load_run"]

RUN_FILE = "run.json"


@dataclass(frozen=True, kw_only=True)
class FileIdentity:
    """A labelled file: its name, its sha256, and the number of rows used."""

    file: str
    sha256: str
    rows: int | None = None


@dataclass(frozen=True, kw_only=True)
class SourceSummary:
    """The rows of one source.

    Attributes:
        rows: number of rows, in all parts.
        weight: of each row in the loss.
        licence: of the rows; empty if the recipe does not say.
        metrics: held-out part -> metrics on its rows as plain values.
    """

    rows: int
    weight: float
    licence: str
    metrics: dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class RunIdentity:
    """What has to be the same for a run to be resumed.

    Attributes:
        recipe: as plain values.
        data: the labelled file; of several files, their names and the sha256 of their sha256 sums.
        validation_file, test_file: labelled files to validate and to test on; None for a split of ``data``.
        base: the base model; the absolute path of a folder.
    """

    recipe: dict[str, Any]
    data: FileIdentity
    validation_file: FileIdentity | None
    test_file: FileIdentity | None = None
    base: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class AdapterSettings:
    """LoRA: rank, alpha, number of adapted layers, modules of the head that are saved with the adapter."""

    r: int
    alpha: int
    layers: int
    head: list[str]


@dataclass(frozen=True, kw_only=True)
class RunMetadata(RunIdentity):
    """A finished run.

    Attributes:
        toxonnx: version.
        base_revision: see :class:`toxonnx.train.pretrained.Loaded`.
        text: ``columns``, the text columns of the file.
        labels: label names.
        split: number of rows in each part, and of duplicates and leaks; see
            :meth:`toxonnx.data.splits.SplitRows.to_dict`.
        adapter: None for full fine-tuning.
        best_epoch, epochs: the chosen epoch, and how many there were.
        learning_rate: at its peak; 0 in runs of versions that did not record it.
        coverage: label of a multi-label file -> number of rows in which it was judged.
        sources: name of each source of a recipe with ``[[data]]`` -> its rows.
        teacher: name of each model of the teacher -> sha256 of its weights and settings.
        metrics: held-out part -> metrics as plain values.
        baselines: held-out part -> ``tfidf`` and ``majority`` -> accuracy and macro F1.
        versions: package -> version.
        finished: always True; an unfinished run has only the fields of :class:`RunIdentity`, and ``baselines``.
    """

    toxonnx: str
    base_revision: str
    text: dict[str, list[str]]
    labels: list[str]
    split: dict[str, int]
    adapter: AdapterSettings | None
    best_epoch: int
    epochs: int
    metrics: dict[str, dict[str, Any]]
    baselines: dict[str, dict[str, dict[str, float]]]
    coverage: dict[str, int] = field(default_factory=dict)
    sources: dict[str, SourceSummary] = field(default_factory=dict)
    teacher: dict[str, str] = field(default_factory=dict)
    learning_rate: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    finished: bool = True


def load_run(folder: Path) -> RunMetadata | None:
    """The metadata of a finished run; None if the folder is not a run.

    Raises:
        InputError: the run has not finished, or ``run.json`` is damaged.
    """
    path = folder / RUN_FILE
    if not path.is_file():
        return None
    table = read_json(path)
    if not table.get("finished"):
        raise InputError(f"the run {folder} has not finished", "Finish it with toxonnx train ... --resume.")
    try:
        return from_plain(RunMetadata, table)
    except InputError as error:
        raise CheckpointError(f"{path} is damaged: {error.what}") from None
