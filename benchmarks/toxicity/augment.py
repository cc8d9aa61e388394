"""Adds variants of texts that change what a classifier of toxicity should look at; a teacher is to score them.

    python benchmarks/toxicity/augment.py toxicity.csv --per-text 1 --limit 60000 -o with-variants.csv

The kinds of variants:

* spelling: letters swapped, dropped, repeated, replaced by similar characters; spaces removed or inserted
* group: the group that a text is about is replaced by another one
* negation: a negation is inserted or removed
* frame: the text is reported, questioned or rejected by somebody else

The output has the rows of the input, and after them the variants, as rows of the sources ``variant-spelling``,
``variant-group`` and so on, without labels. They keep the other columns that start with ``split_``, so that a variant
stays on the side of its original in a split. The same input and seed give the same output.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import random
import re
from collections.abc import Callable
from pathlib import Path

SIMILAR = {
    "a": "@4", "b": "8", "c": "(", "e": "3€", "g": "9", "i": "1!", "l": "1|", "o": "0", "s": "5$", "t": "7+", "z": "2",
}  # fmt: skip
#: words for groups, by how they can replace each other in a sentence
GROUPS = (
    (
        "women", "men", "muslims", "christians", "jews", "hindus", "atheists", "immigrants", "refugees", "foreigners",
        "mexicans", "africans", "asians", "arabs", "chinese people", "indians", "europeans", "americans", "russians",
        "black people", "white people", "brown people", "gay people", "lesbians", "trans people", "straight people",
        "disabled people", "blind people", "deaf people", "autistic people", "old people", "young people",
        "poor people", "rich people", "homeless people", "vegans", "farmers", "teachers", "nurses", "students",
    ),
    (
        "muslim", "christian", "jewish", "hindu", "mexican", "african", "asian", "arab", "chinese", "indian",
        "european", "american", "russian", "black", "white", "gay", "lesbian", "trans", "straight", "disabled",
        "blind", "deaf", "autistic", "female", "male", "homeless", "elderly", "vegan",
    ),
    ("woman", "man", "muslim", "christian", "jew", "immigrant", "refugee", "foreigner", "lesbian", "vegan", "student"),
)  # fmt: skip
NEGATED = {
    "is": "is not", "are": "are not", "was": "was not", "were": "were not", "should": "should not",
    "can": "can not", "will": "will not", "would": "would not", "must": "must not", "have": "do not have",
    "hate": "don't hate", "love": "don't love", "like": "don't like", "want": "don't want", "think": "don't think",
    "deserve": "do not deserve", "all": "not all",
}  # fmt: skip
NEGATION = re.compile(r"\b(not|never)\s+|n't\b", re.IGNORECASE)
FRAMES = (
    'Somebody wrote "{}" and I reported it.', 'It is wrong to say "{}".', 'Why would anyone post "{}"?',
    'My neighbour got a letter that said "{}", which is awful.', '"{}" is something nobody should have to read.',
    'The court fined a man who had shouted "{}".', 'I used to believe this: "{}". I was wrong.',
    'He said "{}", and he is right.', 'I agree with this: "{}"', "What the song says, {}, is not what the band thinks.",
)  # fmt: skip
#: longest text that is put into a frame, in words
FRAME_WORDS = 25


def spelling(text: str, rng: random.Random) -> str | None:
    """The text with some words spelled in another way."""
    words = text.split(" ")
    places = [i for i, word in enumerate(words) if len(word) > 3 and word.isalpha()]
    if not places:
        return None
    kind = rng.choice(("join", "spread", "letters", "letters", "letters"))
    if kind == "join" and len(words) <= FRAME_WORDS:
        start = rng.randrange(len(words))
        end = start + rng.randint(2, 5)
        return " ".join([*words[:start], "".join(words[start:end]), *words[end:]])
    for i in rng.sample(places, min(len(places), 1 + len(places) // 6)):
        words[i] = " ".join(words[i]) if kind == "spread" else _respelled(words[i], rng)
    return " ".join(words)


def _respelled(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(word) - 1)
    match rng.randrange(5):
        case 0:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        case 1:
            return word[:at] + word[at + 1 :]
        case 2:
            return word[:at] + word[at] * rng.randint(2, 4) + word[at + 1 :]
        case 3:
            return (
                word[0] + "*" * (len(word) - 2) + word[-1] if rng.random() < 0.3 else word[:at] + "*" + word[at + 1 :]
            )
        case _:
            return "".join(
                rng.choice(SIMILAR[c.lower()]) if c.lower() in SIMILAR and rng.random() < 0.6 else c for c in word
            )


def group(text: str, rng: random.Random) -> str | None:
    """The text about another group; None if it names none."""
    for words in GROUPS:
        found = [word for word in words if re.search(rf"\b{word}\b", text, re.IGNORECASE)]
        if found:
            old = rng.choice(found)
            new = rng.choice([word for word in words if word not in found])
            pattern = re.compile(rf"\b{old}\b", re.IGNORECASE)
            return pattern.sub(new.capitalize() if pattern.search(text)[0][0].isupper() else new, text)
    return None


def negation(text: str, rng: random.Random) -> str | None:
    """The text with a negation inserted or removed; None if there is no place for one."""
    if NEGATION.search(text):
        return NEGATION.sub("", text, count=1)
    places = [match for word in NEGATED for match in re.finditer(rf"\b{word}\b", text, re.IGNORECASE)]
    if not places:
        return None
    match = rng.choice(places)
    return text[: match.start()] + NEGATED[match.group().lower()] + text[match.end() :]


def frame(text: str, rng: random.Random) -> str | None:
    """The text as somebody else's; None if it is long."""
    return rng.choice(FRAMES).format(text.strip().rstrip(".")) if len(text.split()) <= FRAME_WORDS else None


KINDS: dict[str, Callable[[str, random.Random], str | None]] = {
    "spelling": spelling, "group": group, "negation": negation, "frame": frame,
}  # fmt: skip


def variants(text: str, count: int, seed: int) -> list[tuple[str, str]]:
    """Up to ``count`` variants of different kinds: kind and text."""
    rng = random.Random(hashlib.blake2b(f"{seed}:{text}".encode("utf-8", "surrogatepass")).digest())
    found = []
    for kind in rng.sample(list(KINDS), len(KINDS)):
        variant = KINDS[kind](text, rng)
        if variant is not None and variant.strip() and variant != text:
            found.append((kind, variant))
        if len(found) == count:
            break
    return found


def main() -> None:
    """Writes the variants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="CSV with the columns text and source")
    parser.add_argument("-o", "--output", required=True, type=Path)
    parser.add_argument("--per-text", type=int, default=1, help="variants of each text")
    parser.add_argument("--limit", type=int, default=0, help="texts to use, drawn at random; 0 for all")
    parser.add_argument("--leave-out", default="", help="values of the column source to leave out, with commas")
    parser.add_argument("--seed", type=int, default=42)
    arguments = parser.parse_args()
    left_out = set(arguments.leave_out.split(","))
    with arguments.file.open(encoding="utf-8", newline="") as file:
        originals = list(csv.DictReader(file))
    rows = [row for row in originals if row["source"] not in left_out]
    if arguments.limit:
        rows = random.Random(arguments.seed).sample(rows, min(arguments.limit, len(rows)))
    with arguments.output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(originals[0]), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(originals)
        for row in rows:
            kept = {name: value for name, value in row.items() if name.startswith("split_")}
            for kind, text in variants(row["text"], arguments.per_text, arguments.seed):
                writer.writerow({"text": text, "source": f"variant-{kind}", **kept})


if __name__ == "__main__":
    main()
