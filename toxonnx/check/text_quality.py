"""Damaged texts: wrong encoding, HTML entities, and control or invisible characters."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from toxonnx.check.finding import Finding, format_share, make_finding
from toxonnx.texts import unescape

__all__ = ["text_findings"]

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
# A joiner or directional mark between Latin letters splits a word for a tokenizer; in emoji and other scripts it is
# part of the spelling. Tag characters are invisible letters, except after a black flag, where they encode a region.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u200b\u2060\ufeff]|(?<=[A-Za-z])[\u200c-\u200f](?=[A-Za-z])"
    "|(?<![\U0001f3f4\U000e0020-\U000e007e])[\U000e0000-\U000e007f]"
)
_OVERRIDE = re.compile("[\u202d\u202e]")
_EMBEDDING = re.compile("[\u202a\u202b]")


def text_findings(texts: Sequence[str], lines: Sequence[int], *, has_html: bool, file: str = "") -> list[Finding]:
    """Problems inside texts, as the model reads them.

    Args:
        texts: normalised texts.
        lines: line of each text.
        has_html: whether the normalisation already includes the step ``html``.
        file: see :class:`toxonnx.check.finding.Finding`.
    """
    findings = _mojibake_findings(texts, lines, file)
    entity_advice = "These entities are escaped more than twice: fix them in the file." if has_html else None
    checks: tuple[tuple[str, Callable[[str], bool], str, str | None], ...] = (
        ("replacement-characters", lambda text: "\ufffd" in text,
         "contain U+FFFD, which replaces characters that were lost", None),
        ("html-entities", lambda text: "&" in text and _has_entity(text),
         "contain HTML entities after normalization", entity_advice),
        ("control-characters", lambda text: bool(_CONTROL.search(text)), "contain control characters", None),
        ("invisible-characters", lambda text: bool(_INVISIBLE.search(text)),
         "contain invisible characters, which can hide a word from a model", None),
        ("bidirectional-overrides", _is_reordered, "contain characters that change the display order of letters", None),
    )  # fmt: skip
    for kind, applies, what, advice in checks:
        concerned = [line for line, text in zip(lines, texts, strict=True) if applies(text)]
        if concerned:
            message = f"{format_share(len(concerned), len(texts))} {what}"
            findings.append(make_finding(kind, message, concerned, advice=advice, file=file))
    return findings


def _is_reordered(text: str) -> bool:
    # Some editors put an embedding that is closed again around names in another script.
    return bool(_OVERRIDE.search(text)) or len(_EMBEDDING.findall(text)) > text.count("\u202c")


def _has_entity(text: str) -> bool:
    return any(unescape(match[0]) != match[0] for match in _ENTITY.finditer(text))


def _mojibake_findings(texts: Sequence[str], lines: Sequence[int], file: str) -> list[Finding]:
    import ftfy
    from ftfy.badness import is_bad

    concerned = [i for i, text in enumerate(texts) if not text.isascii() and is_bad(text)]
    if not concerned:
        return []
    fixable = sum(ftfy.fix_encoding(texts[i]) != texts[i] for i in concerned)
    message = (
        f"{format_share(len(concerned), len(texts))} look like they were decoded with the wrong encoding; ftfy can fix "
        f"{fixable:,} of them"
    )
    return [
        make_finding(
            "mojibake", message, [lines[i] for i in concerned], severity="warning" if fixable else "note", file=file,
            details={"fixable": fixable},
        )
    ]  # fmt: skip
