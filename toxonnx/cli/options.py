"""Options that several commands share."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from toxonnx.errors import InputError
from toxonnx.formats import REQUESTABLE_DEVICES
from toxonnx.labels import EVERY_LABEL
from toxonnx.long_texts import MODES

if TYPE_CHECKING:
    from toxonnx.inference.classifier import Classifier

F = TypeVar("F", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A number in a range; unlike click's, not NaN, which no comparison refuses, and not infinite."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See :class:`click.ParamType`."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def device_options(function: F) -> F:
    """Adds ``--device`` and ``--allow-fallback``."""
    function = click.option(
        "--allow-fallback", is_flag=True, help="Use the CPU, with a warning, if the requested device is unavailable."
    )(function)
    return click.option(
        "--device", type=click.Choice(REQUESTABLE_DEVICES), default="cpu", show_default=True,
        help="Device to run on; auto is CUDA if the bundle and the machine allow it.",
    )(function)  # fmt: skip


def threads_option(function: F) -> F:
    """Adds ``--threads``."""
    return click.option(
        "--threads", type=click.IntRange(min=1),
        help="Batches scored at the same time  [default: one per available core; two on a GPU]",
    )(function)  # fmt: skip


def no_cascade_option(function: F) -> F:
    """Adds ``--no-cascade``."""
    return click.option(
        "--no-cascade", is_flag=True, help="Score every text by the full model, also if the bundle has a first stage."
    )(function)


def thresholds_option(function: F) -> F:
    """Adds ``--thresholds``."""
    return click.option(
        "--thresholds", metavar="P|LABEL=P,...", default="",
        callback=lambda _context, option, value: parse_shares(value or None, option.opts[0]),
        help="Probability from which a label applies, in place of the bundle's threshold; not with its first stage.",
    )(function)  # fmt: skip


def long_texts_options(function: F) -> F:
    """Adds ``--long-texts`` and ``--max-windows``."""
    function = click.option(
        "--max-windows", type=click.IntRange(min=1), metavar="N",
        help="Read N windows of a text at most, and truncate the rest  [default: the bundle's, or 32]",
    )(function)  # fmt: skip
    return click.option(
        "--long-texts", type=click.Choice(MODES),
        help="Truncate texts beyond the bundle's maximum length, or read them in windows  [default: the bundle's]",
    )(function)  # fmt: skip


def max_batch_tokens_option(function: F) -> F:
    """Adds ``--max-batch-tokens``."""
    return click.option(
        "--max-batch-tokens", type=click.IntRange(min=1),
        help="Largest number of tokens in a batch  [default: 512; on a GPU 32768, with TensorRT 8192]",
    )(function)  # fmt: skip


def text_column_option(function: F) -> F:
    """Adds ``--text-column``."""
    return click.option(
        "--text-column", "text_columns", multiple=True, metavar="COLUMN",
        help="Column with the text; repeat for further columns.",
    )(function)  # fmt: skip


def check_format(_context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """A callback for options that name a file format."""
    from toxonnx.io.formats import FORMATS

    names = [name for name, one in FORMATS.items() if one.is_written or option.name == "input_format"]
    if value is not None and value not in names:
        raise click.BadParameter(f"unknown format {value!r}; choose from {', '.join(names)}")
    return value


def read_options(function: F) -> F:
    """Adds the options of :class:`toxonnx.io.base.ReadOptions`, and passes them as ``reading``."""

    @functools.wraps(function)
    def with_reading(
        *args: Any,
        input_format: str | None,
        encoding: str | None,
        delimiter: str | None,
        no_header: bool,
        escape_char: str | None,
        **kwargs: Any,
    ) -> Any:
        from toxonnx.io.base import ReadOptions

        reading = ReadOptions(encoding, delimiter, not no_header, escape_char, input_format)
        return function(*args, reading=reading, **kwargs)

    options = (
        click.option(
            "--input-format", metavar="FORMAT", callback=check_format,
            help="Format: csv, tsv, jsonl, text, parquet or openai-batch  [default: by its suffix, else its "
            "content]",
        ),
        click.option("--encoding", help="Encoding of the input; auto guesses it  [default: UTF-8]"),
        click.option(
            "--delimiter", metavar="CHAR|NAME",
            help="Delimiter of CSV: a character, or comma, semicolon, tab, pipe or space; auto guesses it  [default: "
            "comma; tab for .tsv]",
        ),
        click.option(
            "--no-header", is_flag=True,
            help="The first line of the input is a row; its columns are named column_1, column_2, ...",
        ),
        click.option(
            "--escape-char", metavar="CHAR", help="Character that escapes a quote  [default: none, quotes are doubled]"
        ),
    )  # fmt: skip
    decorated: Any = with_reading
    for option in reversed(options):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]  # click does not type what its decorators return


def warn_of_fallback(classifier: Classifier) -> None:
    """Prints a warning to stderr if the CPU is used in place of the requested GPU."""
    if classifier.settings.fallback:
        name = classifier.bundle.manifest.name
        click.echo(f"warning: {name} runs on the CPU: {classifier.settings.fallback}", err=True)


def parse_shares(text: str | None, option: str) -> dict[str, float]:
    """``0.9``, for every label, or ``hate=0.9,spam=0.8``.

    Raises:
        InputError: it is anything else.
    """
    if text is None:
        return {}
    shares: dict[str, float] = {}
    for part in text.split(","):
        label, sign, value = part.rpartition("=")
        name = label.strip() if sign else EVERY_LABEL
        try:
            share = float(value)
        except ValueError:
            raise InputError(f"{option} must be X or LABEL=X,..., got {text!r}") from None
        if name in shares:
            raise InputError(f"{option} {text!r} has two values for {'every label' if name == EVERY_LABEL else name}")
        shares[name] = share
    return shares
