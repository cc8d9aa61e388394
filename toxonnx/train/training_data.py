"""The rows of a run: read, split, described, and measured by baselines."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from toxonnx.bundle import sha256
from toxonnx.data.examples import Examples, known_counts, label_counts, save_examples
from toxonnx.data.labelled_files import LoadedRows, data_files, load_examples, load_files
from toxonnx.data.splits import SplitRows, split
from toxonnx.evaluate.baseline import baseline, majority
from toxonnx.evaluate.metrics import Metrics
from toxonnx.io.base import ReadOptions
from toxonnx.recipe import DataFile, Recipe, Source
from toxonnx.texts import fold
from toxonnx.train.run import FileIdentity, SourceSummary
from toxonnx.train.teacher import TeacherLogits
from toxonnx.wording import plural

__all__ = ["TrainingData", "load_training_data"]

CALIBRATION_ROWS = 400


@dataclass(frozen=True)
class TrainingData:
    """Labelled rows for a run.

    Attributes:
        files: the files that they are from, and how the recipe uses each.
        examples: all labelled rows of the files.
        split: which of them are for training, validation and test.
        held_out: ``validation`` and, if there are some, ``test`` -> rows.
        repeated: of the held-out parts that are files of their own -> how many of their rows are training rows, too.
        unlabelled: further training rows, which only the teacher labels.
        sources: source of rows -> how the recipe uses them.
        teacher: the teacher's logits of ``all_train``; None without a teacher.
    """

    files: list[tuple[Path, DataFile]]
    examples: Examples
    split: SplitRows
    held_out: dict[str, Examples]
    repeated: dict[str, int]
    unlabelled: Examples
    sources: Mapping[str, Source]
    teacher: TeacherLogits | None = None

    @cached_property
    def train(self) -> Examples:
        """The labelled training rows."""
        return self.examples.subset(self.split.train)

    @cached_property
    def all_train(self) -> Examples:
        """The training rows: labelled ones, then unlabelled ones."""
        return Examples.concatenate([self.train, self.unlabelled])

    @property
    def fingerprinted(self) -> list[str]:
        """The texts of the training rows, without those of sources that are left out of the fingerprints."""
        rows = self.all_train
        if not rows.sources:
            return rows.texts
        return [text for text, name in zip(rows.texts, rows.sources, strict=True) if self.sources[name].fingerprints]

    def save(self, folder: Path, seed: int) -> None:
        """Writes the held-out rows, and a sample of the training rows, as CSV."""
        for part, rows in self.held_out.items():
            save_examples(folder / f"{part}.csv", rows)
        # For the calibration of int8: held-out rows would make its verification too optimistic.
        sample = np.random.default_rng(seed).permutation(len(self.train))[:CALIBRATION_ROWS]
        save_examples(folder / "calibration.csv", self.train.subset(sample))

    def identity(self) -> FileIdentity:
        """Identifies the files."""
        sums = [sha256(path) for path, _ in self.files]
        combined = sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()
        names = ", ".join(path.name for path, _ in self.files)
        return FileIdentity(file=names, sha256=combined, rows=len(self.examples))

    def measure_baselines(self) -> dict[str, dict[str, dict[str, float]]]:
        """Held-out part -> ``tfidf`` and ``majority`` -> accuracy and macro F1."""
        train, labels = self.train, self.examples.labels
        return {
            part: {
                "tfidf": baseline(train.texts, train.y_true, rows.texts, rows.y_true, labels),
                "majority": majority(train.y_true, rows.y_true, labels),
            }
            for part, rows in self.held_out.items()
        }

    def summarize_sources(self, metrics: Mapping[str, Mapping[str, Metrics]]) -> dict[str, SourceSummary]:
        """The sources of the rows.

        Args:
            metrics: held-out part -> source -> metrics.
        """
        counts = Counter([*self.examples.sources, *self.unlabelled.sources])
        return {
            name: SourceSummary(
                rows=counts[name],
                weight=self.sources[name].weight,
                licence=self.sources[name].licence,
                metrics={part: of[name].to_dict() for part, of in metrics.items() if name in of},
            )
            for name in sorted(counts)
        }

    def describe(self, recipe: Recipe) -> list[str]:
        """Lines about the rows and their split."""
        examples, rows = self.examples, self.split
        counts = ", ".join(f"{name} {count}" for name, count in label_counts(examples).items())
        lines = [f"{plural(len(examples), 'row')} ({counts})"]
        if examples.sources:
            of_source = Counter(examples.sources).most_common()
            lines.append(f"sources: {', '.join(f'{name} {count}' for name, count in of_source)}")
        if examples.unused:
            lines.append(
                f"{plural(examples.unused, 'row is', 'rows are')} left out by the weights and caps of their sources"
            )
        if len(self.unlabelled):
            lines.append(f"{plural(len(self.unlabelled), 'row')} without a label, for the teacher")
        if examples.unlabelled:
            lines.append(
                plural(examples.unlabelled, "row without a label is left out", "rows without a label are left out")
            )
        if examples.labels.multi and (examples.y_true < 0).any():
            judged = (f"{name} {count / len(examples):.0%}" for name, count in known_counts(examples).items())
            lines.append(f"rows in which a label was judged: {', '.join(judged)}")
        if examples.dropped:
            lines.append(
                plural(examples.dropped, "row with an empty text is left out", "rows with an empty text are left out")
            )
        lines += [f"note: {note}" for note in examples.notes]
        parts = [
            f"{verb} on {'the given file' if part in self.repeated else len(self.held_out.get(part, ()))}"
            for part, verb in (("validation", "validating"), ("test", "testing"))
            if part in self.held_out or "validation" not in self.repeated
        ]
        lines.append(f"training on {plural(len(rows.train), 'row')}, {', '.join(parts)}")
        for part, count in self.repeated.items():
            if count:
                shared = plural(count, f"{part} row is also a training row", f"{part} rows are also training rows")
                lines.append(f"warning: {shared}; metrics are inflated")
        if rows.leaking:
            leaking = plural(rows.leaking, "held-out row is", "held-out rows are")
            lines.append(f"warning: random split as requested: {leaking} also in the training rows")
        elif rows.duplicates:
            group = f" or {' and '.join(recipe.split.group)}" if recipe.split.group else ""
            lines.append(
                f"{plural(rows.duplicates, 'row repeats', 'rows repeat')} the text{group} of another row; the split "
                f"keeps both together ({rows.leaked} would leak in a random split)"
            )
        return lines


def load_training_data(
    recipe: Recipe, data: Path | None, held_out_files: Mapping[str, Path], reading: ReadOptions | None
) -> TrainingData:
    """Reads the rows and splits them.

    Args:
        recipe: how to train.
        data: the file of the command line, if there was one.
        held_out_files: ``validation`` or ``test`` -> labelled file, in place of a split.
        reading: how to read the files.

    Raises:
        InputError: the rows are invalid, or cannot be split.
    """
    files = data_files(recipe, data)
    loaded = load_files(files, recipe, reading=reading)
    examples = loaded.labelled
    given = {
        part: load_examples(path, recipe, reading=reading, labels=examples.labels)
        for part, path in held_out_files.items()
    }
    if "validation" in given:
        no_rows = np.array([], dtype=np.int64)
        rows = SplitRows(np.arange(len(examples), dtype=np.int64), no_rows, no_rows, 0, 0, 0)
    else:
        spec = dataclasses.replace(recipe.split, test=0.0) if "test" in given else recipe.split
        rows = split(examples, spec, " and ".join(str(path) for path, _ in files))
    drawn = {part: examples.subset(members) for part, members in rows.held_out() if len(members)}
    held = {part: one for part in ("validation", "test") if (one := given.get(part, drawn.get(part))) is not None}
    training_texts = {fold(examples.texts[i]) for i in rows.train}
    repeated = {part: sum(fold(text) in training_texts for text in one.texts) for part, one in given.items()}
    return TrainingData(files, examples, rows, held, repeated, _without_held_out(loaded, held), loaded.sources)


def _without_held_out(loaded: LoadedRows, held_out: Mapping[str, Examples]) -> Examples:
    """The unlabelled rows whose text and group are not held out."""
    texts = {fold(text) for rows in held_out.values() for text in rows.texts}
    groups = {group for rows in held_out.values() for group in rows.groups}
    unlabelled = loaded.unlabelled
    kept = [
        i
        for i, text in enumerate(unlabelled.texts)
        if fold(text) not in texts and not (unlabelled.groups and unlabelled.groups[i] in groups)
    ]
    return unlabelled.subset(np.array(kept, dtype=np.int64))
