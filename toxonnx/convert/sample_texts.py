"""Mild sentences to verify a model on where no rows are given, and to test bundles with on other machines.

``expected.json`` in a bundle contains PyTorch's and the exported model's probabilities for :data:`SENTENCES`, so that
any machine can check that its scores still agree; see :mod:`toxonnx.inference.self_test`.
"""

from __future__ import annotations

__all__ = ["SENTENCES", "sample_texts"]

#: words of the longest sample: a model for 8,192 tokens would take gigabytes and minutes for one text of all of them
LONGEST = 2048

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
#: texts of other kinds than sentences in English
_OTHERS = (
    "",
    " ",
    "\u0421\u0443\u043f \u0431\u044b\u043b \u0445\u043e\u043b\u043e\u0434\u043d\u044b\u0439.",  # Russian
    "\u6c64\u5df2\u7ecf\u51c9\u4e86\u3002",  # Chinese
    "\u0643\u0627\u0646\u062a \u0627\u0644\u0634\u0648\u0631\u0628\u0629 \u0628\u0627\u0631\u062f\u0629",  # Arabic
    "\u0938\u0942\u092a \u0920\u0902\u0921\u093e \u0925\u093e",  # Hindi
    "\N{THUMBS UP SIGN}",
    "the soup \N{STEAMING BOWL} was cold \N{FREEZING FACE}\N{EMOJI MODIFIER FITZPATRICK TYPE-4}",
)


def sample_texts(max_length: int) -> list[str]:
    """Texts that show whether two models agree, not how good they are: 160 made from the sentences, an empty and a
    blank one, other scripts, emoji, and one of more than ``max_length`` tokens, which is truncated to this length."""
    texts = [f"{opening} {sentence}".strip() for sentence in SENTENCES for opening in _OPENINGS]
    return [*texts, *_OTHERS, "soup " * min(max_length, LONGEST)]
