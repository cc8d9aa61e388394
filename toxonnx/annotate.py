"""A file in, the same file with labels and scores out."""

from __future__ import annotations

import contextlib
import csv
import io
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from toxonnx.classifier import Classifier, Prediction
from toxonnx.errors import InputError
from toxonnx.rows import OutputFile, Row, RowReader

__all__ = ["Summary", "added_columns", "annotate"]


@dataclass
class Summary:
    """What was done with a file."""

    rows: int = 0
    #: characters of the input that have been answered
    characters: int = 0
    seconds: float = 0.0
    truncated: int = 0
    empty: int = 0
    #: rows that took the scores of an identical text
    repeated: int = 0
    #: rows that a person should look at
    review: int = 0
    labels: Counter[str] = field(default_factory=Counter)


def added_columns(header: Sequence[str], names: Sequence[str], *, review: bool = False) -> list[str]:
    """Names of the columns to append, with a prefix where a bare name would repeat a column of the file.

    Args:
        header: the file's columns.
        names: the labels.
        review: whether a last column says which rows to look at.

    Raises:
        InputError: even the prefixed names are there.
    """
    for prefix, share in (("", ""), ("predicted_", "predicted_"), ("predicted_", "probability_")):
        added = [f"{prefix}label", f"{prefix}score", *(share + name for name in names)]
        added += [f"{prefix}review"] if review else []
        if not set(added) & set(header) and len(set(added)) == len(added):
            return added
    raise InputError(
        f"the file has columns of the names that would be added: {', '.join(sorted(set(added) & set(header)))}",
        "It may have been scored already; rename them, or score the original.",
    )


def annotate(
    classifier: Classifier,
    reader: RowReader,
    output: OutputFile,
    columns: Sequence[str],
    added: Sequence[str],
    *,
    progress: Callable[[Summary], None] = lambda _: None,
) -> Summary:
    """Scores each row of a file and writes it, as it was, with the added columns at its end.

    Args:
        classifier: what scores.
        reader: what it reads, from the first row on.
        output: where it writes.
        columns: the columns that make the text, out of ``reader.columns``.
        added: names of the columns to append, as :func:`added_columns` gives them.
        progress: called after each row with the summary so far.

    Returns:
        Counts, per label too.
    """
    started = time.perf_counter()
    at = [reader.columns.index(name) for name in columns]
    join = classifier.bundle.manifest.text.join  # the classifier normalises
    summary = Summary()

    def line(cells: Sequence[str]) -> str:
        buffer = io.StringIO()
        csv.writer(buffer, delimiter=reader.delimiter, lineterminator="").writerow(cells)
        return buffer.getvalue()

    def text(row: Row) -> str:
        return join([row.fields[i] for i in at]) if row.fields else ""

    quoted: dict[tuple[str, ...], str] = {}  # a label may hold a delimiter; a number holds none
    # This runs once a row, and beside a GPU decides how many rows a second there are.
    reviews = classifier.reviews
    formats = ["%s", *["%.6f"] * (1 + len(classifier.labels)), *["%d"] * reviews]
    pattern = reader.delimiter.replace("%", "%%").join(formats)

    def cells(prediction: Prediction) -> str:
        label = quoted.get(prediction.labels)
        if label is None:
            label = quoted[prediction.labels] = line(["|".join(prediction.labels)])
        review = (prediction.review,) if reviews else ()
        return pattern % (label, prediction.score, *prediction.probabilities.tolist(), *review)

    output.write(reader.mark + reader.header.raw + reader.delimiter + line(added) + reader.header.end)
    with contextlib.closing(classifier.stream(reader, text)) as predictions:
        for row, prediction in predictions:
            summary.characters += len(row.raw) + len(row.end)
            if not row.fields:  # a blank line is kept, and is no row
                output.write(row.raw + row.end)
                continue
            output.write(row.raw + reader.delimiter + cells(prediction) + row.end)
            summary.rows += 1
            summary.truncated += prediction.truncated
            summary.repeated += prediction.repeated
            summary.review += prediction.review
            for label in prediction.labels or ("(none)",):
                summary.labels[label] += 1
            for i in at:
                if row.fields[i] and not row.fields[i].isspace():
                    break
            else:
                summary.empty += 1
            summary.seconds = time.perf_counter() - started
            progress(summary)
    return summary
