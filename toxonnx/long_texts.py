"""How texts beyond the maximum length are read: truncated, or in windows whose logits are pooled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from toxonnx.errors import InputError
from toxonnx.records import Count, Rule, one_of

__all__ = ["MODES", "POOLS", "TRUNCATE", "LongTexts", "Windows"]

#: ``truncate`` reads the first window only
MODES = ("truncate", "windows")
POOLS = ("max", "mean")
#: windows of a text, at most, where nothing else is said
MAX_WINDOWS = 32

Windows = Annotated[
    int, Rule("between 1 and 65,536", lambda number: 1 <= number <= 1 << 16, {"minimum": 1, "maximum": 1 << 16})
]


@dataclass(frozen=True, kw_only=True)
class LongTexts:
    """How a text of more tokens than the maximum length is read.

    Attributes:
        stride: tokens that a window shares with the one before it, as in the tokenizers of transformers.
        pool: how the windows' logits become those of the text: the largest or the mean of each label's.
        max_windows: windows that are read; what is beyond them is truncated.
    """

    stride: Count
    pool: Annotated[str, one_of(*POOLS)]
    max_windows: Windows

    @classmethod
    def with_defaults(
        cls,
        *,
        max_length: int,
        multi: bool,
        stride: int | None = None,
        pool: str | None = None,
        max_windows: int | None = None,
    ) -> LongTexts:
        """Reading in windows; what is None has its default.

        Args:
            max_length: tokens of a window.
            multi: whether a text can have several labels: then the default is the largest logit of each label, else the
                mean.
            stride, pool, max_windows: see the attributes; by default a quarter of the window, and 32 windows.

        Raises:
            InputError: the stride is too large.
        """
        chosen = cls(
            stride=max_length // 4 if stride is None else stride,
            pool=pool or ("max" if multi else "mean"),
            max_windows=max_windows or MAX_WINDOWS,
        )
        chosen.check(max_length)
        return chosen

    def check(self, max_length: int, special_tokens: int = 0) -> None:
        """Does nothing if each window has tokens that the one before it has not.

        Args:
            max_length: tokens of a window, special tokens included.
            special_tokens: number of special tokens of each window.

        Raises:
            InputError: it has not.
        """
        room = max_length - special_tokens
        if self.stride >= room:
            raise InputError(
                f"stride is {self.stride}, but a window has room for {room} tokens of the text",
                "Choose a smaller stride, such as a quarter of the maximum length.",
            )

    def tokens(self, max_length: int, special_tokens: int = 0) -> int:
        """Tokens of the longest text that is read to its end, special tokens included; see :meth:`check`."""
        return max_length + (self.max_windows - 1) * (max_length - special_tokens - self.stride)

    def __str__(self) -> str:
        if self.max_windows == 1:
            return "truncated"
        return f"up to {self.max_windows:,} windows, stride {self.stride}, pooled by {self.pool}"


#: longer texts are cut at the maximum length
TRUNCATE = LongTexts(stride=0, pool="mean", max_windows=1)
