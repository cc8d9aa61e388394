"""Text lengths in tokens, and how much of the texts is beyond the model's maximum length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from toxonnx.check.finding import Finding, format_share, make_finding
from toxonnx.inference.tokenizer import Tokenizer

__all__ = ["Histogram", "TokenLengths", "count_tokens", "truncation_findings"]

#: share of rows or tokens cut off from which truncation is a warning
WARNING_SHARE = 0.05
#: texts tokenized at a time
BATCH_SIZE = 4096


@dataclass(frozen=True)
class Histogram:
    """Counts of values between consecutive edges."""

    edges: tuple[int, ...]
    counts: tuple[int, ...]

    def to_dict(self) -> dict[str, list[int]]:
        """JSON values."""
        return {"edges": list(self.edges), "counts": list(self.counts)}


@dataclass(frozen=True, kw_only=True)
class TokenLengths:
    """Text lengths in tokens, special tokens included.

    Attributes:
        tokenizer: name of the bundle whose tokenizer counts.
        max_length: tokens that the model reads.
        mean, p50, p95, max: of all texts.
        truncated_rows: number of rows with more than ``max_length`` tokens.
        truncated_row_share: share of these rows.
        truncated_token_share: share of all tokens beyond ``max_length``.
        histogram: number of rows by length; the last bin includes all longer texts.
    """

    tokenizer: str
    max_length: int
    mean: float
    p50: float
    p95: float
    max: int
    truncated_rows: int
    truncated_row_share: float
    truncated_token_share: float
    histogram: Histogram

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "histogram": self.histogram.to_dict()}


def count_tokens(
    texts: Sequence[str], lines: Sequence[int], tokenizer: Tokenizer, max_length: int, tokenizer_name: str
) -> tuple[TokenLengths, list[int]]:
    """Counts the tokens of each text.

    Args:
        texts: normalised texts, at least one.
        lines: line of each text.
        tokenizer: a tokenizer that does not truncate.
        max_length: tokens that the model reads, special tokens included.
        tokenizer_name: name of the bundle that the tokenizer belongs to.

    Returns:
        Lengths, and the lines of truncated texts.
    """
    batches = (texts[start : start + BATCH_SIZE] for start in range(0, len(texts), BATCH_SIZE))
    counts = np.concatenate([tokenizer(batch).lengths for batch in batches])
    truncated = np.flatnonzero(counts > max_length).tolist()
    # The last bin includes everything beyond it, so that one very long text does not flatten the histogram.
    last_edge = max(int(np.percentile(counts, 99.5)), max_length) + 1
    # Whole numbers, so that bins of equal width include the same number of lengths.
    width = -(-last_edge // 40)
    edges = np.arange(0, last_edge + width, width)
    histogram = np.histogram(np.minimum(counts, edges[-1] - 1), edges)[0]
    lengths = TokenLengths(
        tokenizer=tokenizer_name, max_length=max_length, mean=float(counts.mean()),
        p50=float(np.percentile(counts, 50)), p95=float(np.percentile(counts, 95)), max=int(counts.max()),
        truncated_rows=len(truncated), truncated_row_share=len(truncated) / len(texts),
        truncated_token_share=float(np.maximum(counts - max_length, 0).sum() / counts.sum()),
        histogram=Histogram(tuple(edges.tolist()), tuple(histogram.tolist())),
    )  # fmt: skip
    return lengths, [lines[i] for i in truncated]


def truncation_findings(lengths: TokenLengths, truncated_lines: Sequence[int], rows: int) -> list[Finding]:
    """Reports truncated texts.

    Args:
        lengths: from :func:`count_tokens`.
        truncated_lines: from :func:`count_tokens`.
        rows: number of texts counted.
    """
    if not truncated_lines:
        return []
    share = max(lengths.truncated_row_share, lengths.truncated_token_share)
    message = (
        f"{format_share(lengths.truncated_rows, rows)} have more than {lengths.max_length} tokens and are truncated; "
        f"{lengths.truncated_token_share:.2%} of all tokens are cut off (counted with the tokenizer of "
        f"{lengths.tokenizer})"
    )
    return [
        make_finding(
            "truncation", message, truncated_lines, severity="warning" if share >= WARNING_SHARE else "note"
        )
    ]  # fmt: skip
