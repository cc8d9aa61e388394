"""Replaces the variants of a training file by more of them, with the text that a teacher should read in their place.

    python benchmarks/toxicity/vary.py continued/train.csv -o varied.csv

The input is a file of ``continue_from.py``. The output has its rows, without those of the source ``variant-spelling``,
and a column ``teacher_text`` more: the text itself, or for a variant the text that it was made from, or nothing where
that text means something else. New sources:

* ``variant-spelling``: letters swapped, dropped, repeated or replaced, words joined or spread out, in one word or in
  all. The labels stay, but for profanity and sexual language, which are properties of words: there only the teacher
  counts, which reads the original.
* ``variant-reported``: a statement about a group in another sentence, without quotation marks. Where that sentence
  rejects a hateful statement, and where a short one is negated, it is neither toxic nor an identity attack; where it
  agrees or asks whether others do, the labels stay. The group of some statements is replaced by another one that is
  often attacked. The same sentences stand around harmless statements, but for those that reject.

Rows of the source ``variant-frame`` count by their labels only. The same input and seed give the same output.
"""

from __future__ import annotations

import argparse
import csv
import random
import re
from collections.abc import Iterator
from pathlib import Path

from augment import FRAME_WORDS, GROUPS, NEGATION, SIMILAR
from continue_from import LABELS, Row, write

REJECTING = (
    "I would never say that {}.", "Nobody should believe that {}.", "It is not true that {}.", "I don't think that {}.",
    "No one in this family thinks that {}.", "It is a lie that {}.", "You can't just claim that {}.",
    "They were wrong to write that {}.", "Please stop saying that {}.", "Anyone who says that {} is wrong.",
    "I disagree when people tell me that {}.", "She was shocked to hear that {}, and said so.",
    "There is no evidence at all that {}.", "He lost his job for posting that {}.", "Whoever taught you that {} lied.",
    "I have never believed that {}.", "We do not tolerate posts which say that {}.", "Saying that {} is disgusting.",
)  # fmt: skip
AGREEING = (
    "I have always said that {}.", "Everybody knows that {}.", "It is true that {}.", "I really think that {}.",
    "Nobody can deny that {}.", "My experience is that {}.", "You can't tell me it's not true that {}.",
    "Sorry, but {}.", "Let's be honest, {}.", "I don't care what they say, {}.", "It's a fact that {}.",
    "In my opinion, {}.", "There is no doubt that {}.", "The more I read the more I believe that {}.",
    "Isn't it obvious that {}?", "Am I the only one who thinks that {}?", "Why does nobody say that {}?",
    "How can anyone doubt that {}?", "Don't you agree that {}?", "Do you really not see that {}?", "{}, right?",
    "Would it be wrong to say that {}?", "Who else has noticed that {}?", "Can we finally admit that {}?",
)  # fmt: skip
#: groups that are often attacked, as they are written inside a sentence
ATTACKED = (
    "women", "Muslims", "Jews", "immigrants", "refugees", "foreigners", "Mexicans", "Africans", "Asians", "Arabs",
    "Chinese people", "Indians", "black people", "gay people", "lesbians", "trans people", "disabled people",
    "blind people", "deaf people", "autistic people", "homeless people", "old people",
)  # fmt: skip
_GROUP = "|".join(GROUPS[0])
_VERB = (
    "are|should|will|do|don't|have|can|can't|must|need|deserve|want|always|never|just|make|belong|only|like|love|think"
)
STATEMENT = re.compile(rf"^((?:all|most|the|those|these)\s+)?({_GROUP})\s+(?:{_VERB})\b", re.IGNORECASE)
#: a statement that harmless sentences may make about anything
HARMLESS_STATEMENT = re.compile(rf"^(?:\w+\s+){{0,2}}(?:{_GROUP}|\w+s)\s+(?:{_VERB})\b", re.IGNORECASE)
#: what someone feels about a group
FEELING = re.compile(
    rf"^((?:I|we)\s+)(?:\w+\s+){{0,2}}((?:hate|despise|detest|loathe)\s+(?:all\s+|the\s+|those\s+)?)({_GROUP})\b",
    re.IGNORECASE,
)
NEGATED = {
    "are": ("are not", "are never", "aren't"), "should": ("should not", "should never", "shouldn't"),
    "deserve": ("do not deserve", "don't deserve", "never deserve"), "belong": ("do not belong", "don't belong"),
    "must": ("must not", "must never"), "need": ("do not need", "don't need"),
    "ruin": ("do not ruin", "don't ruin"), "hate": ("don't hate", "do not hate", "have never hated"),
    "despise": ("don't despise", "would never despise"), "loathe": ("don't loathe",), "detest": ("don't detest",),
}  # fmt: skip
#: words of the longest statement that is negated
NEGATED_WORDS = 10
#: words of the longest text that is misspelled: letters that are spread out are one token each
MISSPELLED_WORDS = 30
SEVERAL_SENTENCES = re.compile(r"[.!?]\s|[\"\n;]")
#: share of the rows from which a misspelled variant is made: of those with an identity attack, of harmless ones, others
MISSPELLED = (0.3, 0.2, 0.06)
#: variants with another sentence around it, of each hateful and each harmless statement
REPORTED = (5, 2)
REJECTED = 0.5
#: share of the statements whose group is replaced, and of the rejected ones that are negated, where that is possible
REPLACED, NEGATED_SHARE = 0.6, 0.4
SHORT = 3
#: kinds of misspellings; "join" is of several words
KINDS = ("swap", "drop", "join", "spread", "similar", "other")


def misspelled(text: str, rng: random.Random) -> str:
    """The text with one to all of its longer words spelled in another way."""
    words = text.split()
    places = [i for i, word in enumerate(words) if len(word) > SHORT and word[0].isalpha()]
    kind = rng.choice(KINDS)
    if kind == "join":
        whole = len(words) <= NEGATED_WORDS and rng.random() < 0.5
        start, count = (0, len(words)) if whole else (rng.randrange(len(words)), rng.randint(2, 5))
        return " ".join([*words[:start], "".join(words[start : start + count]), *words[start + count :]])
    share = rng.choice((0.0, 0.3, 0.6, 1.0))
    for i in rng.sample(places, max(min(len(places), 1), round(share * len(places)))):
        words[i] = respelled(words[i], kind, rng)
    return " ".join(words)


def respelled(word: str, kind: str, rng: random.Random) -> str:
    """A word of three letters or more in another spelling, of one of ``KINDS`` but "join"."""
    at = rng.randrange(1, len(word) - 1)
    match kind:
        case "swap":
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        case "drop":
            return word[:at] + word[at + 1 :]
        case "spread":
            return rng.choice((" ", " ", " ", ".", "-")).join(word)
        case "similar":
            share = rng.choice((0.4, 0.7, 1.0))
            return "".join(
                rng.choice(SIMILAR[c.lower()]) if c.lower() in SIMILAR and rng.random() < share else c for c in word
            )
    if rng.random() < 0.5:
        return word[:at] + word[at] * rng.randint(2, 4) + word[at + 1 :]
    return word[:at] + "*" * rng.randint(1, len(word) - 1 - at) + word[-1]


def negated(text: str, rng: random.Random) -> str | None:
    """A short statement or feeling about a group, negated; None if the text is none."""
    words = text.split()
    match = STATEMENT.match(text) or FEELING.match(text)
    place = next((i for i, word in enumerate(words) if word.lower() in NEGATED), None)
    if match is None or place is None or len(words) > NEGATED_WORDS:
        return None
    words[place] = rng.choice(NEGATED[words[place].lower()])
    changed = " ".join(words)
    group = re.search(rf"\b({_GROUP})\b", changed, re.IGNORECASE)
    if group and rng.random() < REPLACED:
        changed = f"{changed[: group.start()]}{rng.choice(ATTACKED)}{changed[group.end() :]}"
    return changed[0].upper() + changed[1:]


def reported(text: str, frame: str, rng: random.Random) -> str:
    """A statement inside another sentence."""
    statement = text.strip().rstrip(".!? ")
    match = STATEMENT.match(statement)
    if match and rng.random() < REPLACED:
        statement = f"{match[1] or ''}{rng.choice(ATTACKED)}{statement[match.end(2) :]}"
    names = {name.split()[0].lower() for name in ATTACKED if name[0].isupper()}
    if not frame.startswith("{") and statement.split()[0].lower() not in names:
        statement = statement[0].lower() + statement[1:]
    else:
        statement = statement[0].upper() + statement[1:]
    whole = frame.format(statement)
    return whole.lower() if rng.random() < 0.2 else whole


def variants(rows: list[Row], rng: random.Random) -> Iterator[Row]:
    """Variants of rows, with the labels that follow from how they are made."""
    for row in rows:
        text = row["text"].strip()
        hateful, harmless = row["identity_attack"] == "1", row["toxicity"] == "0" and row["identity_attack"] != "1"
        words = len(text.split())
        if rng.random() < MISSPELLED[0 if hateful else 1 if harmless else 2] and words <= MISSPELLED_WORDS:
            changed = misspelled(text, rng)
            if changed != text:
                open_labels = {"text": changed, "source": "variant-spelling", "profanity": "", "sexual": ""}
                yield row | open_labels | {"teacher_text": text}
        if words > FRAME_WORDS or SEVERAL_SENTENCES.search(text):
            continue
        if hateful and (STATEMENT.match(text) or FEELING.match(text)) and not NEGATION.search(text):
            for _ in range(REPORTED[0]):
                rejected = rng.random() < REJECTED
                whole = negated(text, rng) if rejected and rng.random() < NEGATED_SHARE else None
                whole = whole or reported(text, rng.choice(REJECTING if rejected else AGREEING), rng)
                known = dict.fromkeys(LABELS, "") | {"toxicity": "0", "identity_attack": "0"} if rejected else {}
                yield row | known | {"text": whole, "source": "variant-reported", "teacher_text": ""}
        elif harmless and HARMLESS_STATEMENT.match(text):
            for frame in rng.sample(AGREEING, REPORTED[1]):
                whole = reported(text, frame, rng)
                yield row | {"text": whole, "source": "variant-reported", "teacher_text": ""}


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="CSV of continue_from.py")
    parser.add_argument("--seed", type=int, default=44)
    parser.add_argument("-o", "--output", required=True, type=Path)
    arguments = parser.parse_args()
    with arguments.file.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] != "variant-spelling"]
    originals = [row for row in rows if not row["source"].startswith("variant-")]
    for row in rows:
        row["teacher_text"] = "" if row["source"] == "variant-frame" else row["text"]
    write(arguments.output, [*rows, *variants(originals, random.Random(arguments.seed))])


if __name__ == "__main__":
    main()
