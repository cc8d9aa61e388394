"""Mild sentences to verify a model on where no rows are given, and to test bundles with on other machines.

``expected.json`` in a bundle contains PyTorch's probabilities for :data:`SENTENCES`, so that any machine
can check that its scores still agree; see :mod:`toxonnx.inference.self_test`.
"""

from __future__ import annotations

__all__ = ["SENTENCES", "sample_texts"]

SENTENCES = (
    "The soup was cold and the waiter forgot us twice.",
    "This is the best day of the whole summer!",
    "Nobody on that team can cook, and everyone knows it.",
    "Could somebody tell me when the library opens on Sunday?",
    "You are wrong about the film, and your review is silly.",
    "We walked along the river, talked about work, bought bread, fed the ducks, and missed the last bus home.",
    "ok",
    "That referee is a clown :(",
    "@anna thanks for the recipe, see https://example.org/cake for mine",
    "I would not let him near my bicycle &amp; my tools again.",
    "What a stupid idea, honestly.",
    "Damn, I burnt the toast again.",
    "My neighbours sing at midnight and they sing badly.",
    "Shut the door, it is freezing in here.",
    "RT @weather: rain until noon, sun after that",
    "She plays chess better than all of us together.",
    "This idiot printer eats every second page!!!",
    "The meeting moved to Thursday; please bring the old plans, the new plans, and patience.",
    "lol that goal was pure luck and you know it",
    "Gr\u00fc\u00dfe aus K\u00f6ln, die Sonne scheint und der Kaffee ist gut.",
)

_OPENINGS = ("", "Honestly,", "I think", "No way:", "Sorry, but", "To be fair,", "wow!!", "Quick question:")


def sample_texts() -> list[str]:
    """160 texts made from the sentences: enough to check whether two models agree, not to measure their quality."""
    return [f"{opening} {sentence}".strip() for sentence in SENTENCES for opening in _OPENINGS]
