"""What is wrong inside texts (encoding, left-over entities, characters that nobody sees), and how long they are."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from toxonnx.check.finding import Finding, format_share, make_finding
from toxonnx.inference.tokenizer import Tokenizer

__all__ = ["lengths", "text_findings"]

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
# A joiner or a mark between Latin letters hides a word from a tokenizer; in emoji and other scripts it is part of the
# spelling. Tags are letters that nobody sees, except behind the black flag, where they name a country.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u200b\u2060\ufeff]|(?<=[A-Za-z])[\u200c-\u200f](?=[A-Za-z])"
    "|(?<![\U0001f3f4\U000e0020-\U000e007e])[\U000e0000-\U000e007f]"
)
_OVERRIDE = re.compile("[\u202d\u202e]")
_EMBEDDING = re.compile("[\u202a\u202b]")

#: share of rows (or of tokens) cut at the limit, from which it is a warning
CUT = 0.05


def text_findings(texts: Sequence[str], lines: Sequence[int], *, has_html: bool, file: str = "") -> list[Finding]:
    """Troubles inside texts, as the model reads them.

    Args:
        texts: normalised texts.
        lines: line of each.
        has_html: whether the normalisation has the step ``html`` already.
        file: see :class:`toxonnx.check.finding.Finding`.
    """

    def at(holds: Callable[[str], bool]) -> list[int]:
        return [line for line, text in zip(lines, texts, strict=True) if holds(text)]

    findings = _mojibake(texts, lines, file)
    entities = "Entities stand inside entities: mend the file." if has_html else (
        "Add the step html to text.normalise of the recipe, so that the model reads the characters."
    )  # fmt: skip
    for kind, severity, holds, message, advice in (
        (
            "replacement-characters", "warning", lambda text: "\ufffd" in text,
            "hold U+FFFD, which stands where characters were lost",
            "Export the file again from its source in UTF-8; what was lost cannot be mended here.",
        ),
        (
            "html-entities", "note", lambda text: "&" in text and _has_entity(text),
            "hold HTML entities after normalisation", entities,
        ),
        (
            "control-characters", "note", lambda text: bool(_CONTROL.search(text)),
            "hold control characters", "Take them out: they are traces of another program.",
        ),
        (
            "invisible-characters", "note", lambda text: bool(_INVISIBLE.search(text)),
            "hold characters of no width, which can hide a word from a model",
            "Find out whether people write so or a program did, and whether one class has more of them.",
        ),
        (
            "bidirectional-overrides", "warning", _is_turned,
            "hold characters that reorder the letters on the screen",
            "Look at the rows in an editor that shows such characters: annotators did not read what the model reads.",
        ),
    ):  # fmt: skip
        bad = at(holds)
        if bad:
            findings.append(
                make_finding(
                    kind, severity, f"{format_share(len(bad), len(texts))} {message}", bad, advice=advice, file=file
                )
            )
    return findings


def _is_turned(text: str) -> bool:
    # What opens a direction and closes it again is how some editors write names in another script.
    return bool(_OVERRIDE.search(text)) or len(_EMBEDDING.findall(text)) > text.count("\u202c")


def _has_entity(text: str) -> bool:
    return any(html.unescape(one[0]) != one[0] for one in _ENTITY.finditer(text))


def _mojibake(texts: Sequence[str], lines: Sequence[int], file: str) -> list[Finding]:
    import ftfy
    from ftfy.badness import is_bad

    bad = [i for i, text in enumerate(texts) if not text.isascii() and is_bad(text)]
    if not bad:
        return []
    mended = sum(ftfy.fix_encoding(texts[i]) != texts[i] for i in bad)
    return [
        make_finding(
            "mojibake", "warning" if mended else "note",
            f"{format_share(len(bad), len(texts))} look decoded with a wrong encoding; ftfy can mend {mended:,} of them",
            [lines[i] for i in bad], file=file, details={"mendable": mended},
            advice="Read the file in the encoding it was written in, or mend the texts with ftfy.fix_encoding.",
        )
    ]  # fmt: skip


def lengths(
    texts: Sequence[str], lines: Sequence[int], tokenizer: Tokenizer, limit: int, owner: str
) -> tuple[dict[str, Any], list[Finding]]:
    """Tokens of texts, and what of them lies behind the limit.

    Args:
        texts: normalised texts, one at least.
        lines: line of each.
        tokenizer: one that does not cut.
        limit: tokens that the model reads, special ones included.
        owner: whose tokenizer it is.
    """
    parts = [tokenizer(texts[start : start + 4096]).lengths for start in range(0, len(texts), 4096)]
    counts = np.concatenate(parts)
    over = np.flatnonzero(counts > limit).tolist()
    lost = float(np.maximum(counts - limit, 0).sum() / counts.sum())
    # The last bar holds all that lies beyond it, so that one long text does not flatten the picture.
    last = max(int(np.percentile(counts, 99.5)), limit) + 1
    wide = -(-last // 40)  # whole numbers, or bars of equal width hold different numbers of lengths
    edges = np.arange(0, last + wide, wide)
    facts = {
        "tokenizer": owner, "limit": limit, "mean": float(counts.mean()), "p50": float(np.percentile(counts, 50)),
        "p95": float(np.percentile(counts, 95)), "max": int(counts.max()), "rows_cut": len(over),
        "share_of_rows_cut": len(over) / len(texts), "share_of_tokens_cut": lost,
        "histogram": {
            "edges": edges.tolist(), "counts": np.histogram(np.minimum(counts, edges[-1] - 1), edges)[0].tolist(),
        },
    }  # fmt: skip
    if not over:
        return facts, []
    share = len(over) / len(texts)
    return facts, [
        make_finding(
            "truncation", "warning" if max(share, lost) >= CUT else "note",
            f"{format_share(len(over), len(texts))} have more than {limit} tokens and are cut "
            f"there; {lost:.2%} of all tokens are cut off (counted with the tokenizer of {owner})",
            [lines[i] for i in over],
            advice="Raise max_length if the model allows it, or make sure that what matters stands in front.",
        )
    ]  # fmt: skip
