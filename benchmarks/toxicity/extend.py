"""Adds sentences that name groups, variants that only a teacher can judge, and misspelled ones to a training file.

    python benchmarks/toxicity/extend.py varied.csv -o extended.csv

The input is a file of ``vary.py``. The output has its rows, and after them new ones of these sources:

* ``variant-mention``: short sentences about groups that are often attacked, written for this purpose: neutral and
  friendly ones, which have none of the labels, and ones that say with a negation that a group is worth nothing, which
  are toxic and identity attacks; their other labels are left open. The teacher reads them, too.
* ``variant-group``, ``variant-negation``: texts with another group in them, and texts with a negation inserted or
  removed. Nobody has judged them, so the labels are empty and only the teacher counts.
* ``variant-plain``: texts without any word (punctuation, emoji, names of users), and short statements about groups,
  some with a word that is an insult elsewhere; they have none of the labels, and no teacher reads them.
* ``variant-misspelled``: hateful and harmless texts that name a group, as many of each, misspelled: the words for the
  group, which are what people misspell on purpose, or any words. Labels and teacher are as for ``variant-spelling``.

The same input and seed give the same output.
"""

from __future__ import annotations

import argparse
import csv
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from augment import FRAME_WORDS, GROUPS, group, negation
from continue_from import LABELS, Row, write
from vary import KINDS, MISSPELLED_WORDS, misspelled, respelled

#: groups as they are named inside a sentence: one person, several people
NAMES = (
    ("woman", "women"), ("Muslim", "Muslims"), ("Jewish man", "Jews"), ("immigrant", "immigrants"),
    ("refugee", "refugees"), ("foreigner", "foreigners"), ("Mexican", "Mexicans"), ("Nigerian", "Africans"),
    ("Chinese woman", "Chinese people"), ("Indian", "Indians"), ("Arab", "Arabs"), ("black man", "black people"),
    ("black woman", "black women"), ("gay man", "gay people"), ("gay man", "gay men"), ("lesbian", "lesbians"),
    ("bisexual man", "bisexuals"), ("trans woman", "trans people"), ("trans man", "trans men"),
    ("transgender person", "transgender people"), ("disabled person", "disabled people"), ("blind man", "blind people"),
    ("deaf woman", "deaf people"), ("wheelchair user", "people in wheelchairs"), ("autistic boy", "autistic people"),
    ("homeless man", "homeless people"), ("Muslim woman", "Muslim women"), ("Hindu", "Hindus"),
)  # fmt: skip
#: nothing of this is about what somebody thinks of the group
NEUTRAL = (
    "My sister married {one}.", "{One} moved in next door last week.", "Our new teacher is {one}.",
    "The film is about {one} who opens a bakery.", "I sat beside {one} on the train.", "Many {many} live in this town.",
    "{One} asked me the way to the station.", "The survey was answered by four hundred {many}.",
    "I read a book that was written by {one}.", "Two {many} bought the house at the corner.", "I am {one}.",
    "My cousin told us that she works with {many}.", "There are more {many} in our team than last year.",
    "This course is for {many}.", "{One} won the race this morning.", "Are there any {many} in your class?",
    "He was elected by {many}, mostly.", "I have been {one} all my life.", "The museum shows how {many} lived in 1900.",
    "The doctor who treated me was {one}.", "{Many} can register until Friday.", "Is your dentist {one}?",
)  # fmt: skip
FRIENDLY = (
    "{Many} have made this city a better place.", "I am so proud to be {one}.", "We need more {many} in parliament.",
    "I am glad that {many} moved here.", "{Many} deserve the same rights as everyone else.", "I trust {many}.",
    "The {many} I work with are wonderful people.", "Good to see so many {many} on stage tonight!",
    "Thank you to all the {many} who helped us today.", "{Many} make the best neighbours.", "I stand with {many}.",
    "My best friend is {one} and I could not wish for a better one.", "Nobody cooks as well as {many} do.",
    "Happy birthday to {one} who taught me everything!", "I was raised by {one}, and I had a great childhood.",
    "{Many} are just as clever as the rest of us.", "Hiring {many} was the best thing we ever did.",
    "Everyone is welcome at our table, {many} first of all.", "I love {many}, and I say so.",
    "It is not a crime to be {one}.", "There is nothing wrong with {many}.", "I do not mind {many} at all.",
)  # fmt: skip
#: hostile, without a hostile word: the negation makes them so
DISMISSIVE = (
    "I will never respect {many}.", "Nobody here trusts {many}.", "{Many} do not deserve our help.",
    "There is nothing good about {many}.", "{Many} will never be welcome in my house.", "I can't stand {many}.",
    "I would not save {one} from drowning.", "No decent person has ever liked {many}.", "I don't want {many} around.",
    "{Many} have never done anything for this country.", "You can't be {one} and have any dignity.",
    "No one should have to live next to {many}.", "{Many} should not be allowed to vote.", "{Many} are not like us.",
    "I have not met {one} who was worth my time.", "The world does not need {many}.", "{Many} aren't real people.",
    "It is not possible to feel sorry for {many}.", "We don't owe {many} anything, least of all kindness.",
    "I wouldn't want {one} near my children.", "Not one of the {many} deserves to be happy.",
    "I have no sympathy left for {many}.", "{Many} don't have the brains for this work.",
)  # fmt: skip
#: short, or with a word for animals or dirt; all of it harmless
PLAIN = (
    "{Many} run this shop.", "{Many} own this house.", "{Many} use this pool on Tuesdays.", "{Many} built this bridge.",
    "{Many} play here on Sundays.", "{Many} sing in our choir.", "{Many} won the cup again.", "{Many} live next door.",
    "{Many} wrote most of these songs.", "{Many} make up a third of our club.", "{Many} came to the party.",
    "{Many} voted on Sunday.", "{Many} eat lunch here.", "{Many} drive these buses.", "{One} fixed my bike.",
    "{Many} grow the apples that we sell.", "{One} wrote this book.", "I asked two {many} for directions.",
    "The {many} next door have a dog.", "{Many} at the farm feed the pigs.", "{One} trained my dog.",
    "{One} rode a donkey in the parade.", "{Many} keep rats as pets, too.", "{Many} collect the trash on Mondays.",
    "{One} cleaned the toilets after the party.", "A snake bit {one} on the beach.", "{Many} saw monkeys at the zoo.",
)  # fmt: skip
EMOJI = "👍👏🙏🎉😂🤣😀😊😍🥰😘😎🤔😭😢🙌💯🔥✨🌸🌹🎂🍕☕🌞🌈⭐💪👀🤷👋💐🐶🐱🎵⚽🏆❤💙💚"
MARKS = (
    ".",
    "!",
    "?",
    ",",
    "...",
    "!!",
    "??",
    "?!",
    "-",
    ":",
    ";",
    '"',
    "(",
    ")",
    "*",
    "#",
    "&",
    ":)",
    ":-)",
    ":D",
    "<3",
)
#: of each kind of texts without words
WORDLESS = 300
#: share of the sentences that is written in small letters only, as many comments are
SMALL = 0.25
#: share of the misspelled texts in which any words are misspelled, not the group's name
ANY_WORDS = 0.4
#: a text that names a group of which ``group`` knows others
NAMED = re.compile("|".join(rf"\b{word}\b" for words in GROUPS for word in words), re.IGNORECASE)


def mentions(rng: random.Random) -> Iterator[Row]:
    """The sentences about groups, with their labels."""
    known = {
        "0": dict.fromkeys(LABELS, "0"),
        "1": dict.fromkeys(LABELS, "") | {"toxicity": "1", "identity_attack": "1"},
    }
    for frames, label in ((NEUTRAL, "0"), (FRIENDLY, "0"), (DISMISSIVE, "1")):
        for text in filled(frames, rng):
            yield known[label] | {"text": text, "source": "variant-mention", "teacher_text": text}


def filled(frames: Iterable[str], rng: random.Random) -> Iterator[str]:
    """Each of the frames with each of the names."""
    for frame in frames:
        for one, many in NAMES:
            one = f"{'an' if one[0].lower() in 'aei' else 'a'} {one}"
            text = frame.format(one=one, many=many, One=one[0].upper() + one[1:], Many=many[0].upper() + many[1:])
            yield text.lower() if rng.random() < SMALL else text


def plain(rng: random.Random) -> Iterator[Row]:
    """The harmless texts that no teacher reads."""
    texts = list(filled(PLAIN, rng))
    for _ in range(WORDLESS):
        emoji, mark = "".join(rng.choices(EMOJI, k=rng.randint(1, 4))), rng.choice(MARKS)
        user = f"@{rng.choice('abcdefgh')}{rng.randint(1, 999)}"
        texts += [emoji, mark + rng.choice(("", " ", emoji, mark)), f"{user} {rng.choice(('', emoji, mark, user))}"]
    for text in dict.fromkeys(map(str.strip, texts)):
        yield dict.fromkeys(LABELS, "0") | {"text": text, "source": "variant-plain", "teacher_text": ""}


def unjudged(rows: list[Row], count: int, rng: random.Random) -> Iterator[Row]:
    """Up to ``count`` variants of each kind, of texts that name a group."""
    named = [row["text"] for row in rows if len(row["text"].split()) <= FRAME_WORDS and NAMED.search(row["text"])]
    for kind, change in (("group", group), ("negation", negation)):
        for text in rng.sample(named, min(count, len(named))):
            changed = change(text, rng)
            if changed and changed != text:
                empty = dict.fromkeys(LABELS, "")
                yield empty | {"text": changed, "source": f"variant-{kind}", "teacher_text": changed}


def misspelled_group(text: str, rng: random.Random) -> str:
    """A text that names a group with that name misspelled, or written together with a word beside it."""
    match = rng.choice(list(NAMED.finditer(text)))
    before, name, after = text[: match.start()], match[0], text[match.end() :]
    kind = rng.choice(KINDS)
    if kind != "join":
        return before + " ".join(respelled(word, kind, rng) for word in name.split()) + after
    side = rng.choice(("before", "after", "both"))
    return (before if side == "after" else before.rstrip()) + name + (after if side == "before" else after.lstrip())


def misspellings(rows: list[Row], count: int, rng: random.Random) -> Iterator[Row]:
    """Up to ``count`` misspelled texts that name a group, half of them hateful and half harmless."""
    named = [row for row in rows if NAMED.search(row["text"]) and len(row["text"].split()) <= MISSPELLED_WORDS]
    hateful = [row for row in named if row["identity_attack"] == "1"]
    harmless = [row for row in named if row["toxicity"] == "0" and row["identity_attack"] != "1"]
    for some in (hateful, harmless):
        for row in rng.choices(some, k=count // 2) if some else ():
            text = row["text"].strip()
            changed = (misspelled if rng.random() < ANY_WORDS else misspelled_group)(text, rng)
            if changed != text:
                open_labels = {"text": changed, "source": "variant-misspelled", "profanity": "", "sexual": ""}
                yield row | open_labels | {"teacher_text": text}


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="CSV of vary.py")
    parser.add_argument("--unjudged", type=int, default=16000, help="texts to make a variant of, for each of two kinds")
    parser.add_argument("--misspelled", type=int, default=25000, help="misspelled texts that name a group")
    parser.add_argument("--plain", action=argparse.BooleanOptionalAction, default=True, help="add harmless texts")
    parser.add_argument("--seed", type=int, default=45)
    parser.add_argument("-o", "--output", required=True, type=Path)
    arguments = parser.parse_args()
    with arguments.file.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rng = random.Random(arguments.seed)
    originals = [row for row in rows if not row["source"].startswith("variant-")]
    added = [*mentions(rng), *unjudged(originals, arguments.unjudged, rng)]
    rows += [row | {"split_group": f"added-{number}"} for number, row in enumerate(added)]
    rows += misspellings(originals, arguments.misspelled, rng)
    if arguments.plain:
        rows += [row | {"split_group": f"plain-{number}"} for number, row in enumerate(plain(rng))]
    write(arguments.output, rows)


if __name__ == "__main__":
    main()
