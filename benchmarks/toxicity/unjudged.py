"""Adds texts that only the teacher judges to a training file, so that a student sees more texts than people judged.

    for seed in 45 61 62 63; do
        python benchmarks/toxicity/extend.py varied.csv --unjudged 80000 --seed $seed -o variants-$seed.csv
    done
    python benchmarks/toxicity/unjudged.py plain.csv --variants variants-*.csv \\
        --evaluation hatecheck.csv=test_case eval_surge.csv=text eval_openai_mod.csv=text -o unjudged.csv

The input is a file of ``extend.py``. The output has its rows, and after them new ones without labels:

* ``variant-group``, ``variant-negation``: those of the files of ``--variants``
* ``variant-sentence``: single sentences of longer texts
* ``variant-words``: short texts in which words are replaced by others that stand between the same two words in another
  text
* ``variant-misspelled``: those of the new texts that name a group, misspelled. The teacher reads the text as it was
  written.

Texts that are equal to one of an evaluation set are left out, where case, punctuation and the names of groups do not
count. The same input and seed give the same output.
"""

from __future__ import annotations

import argparse
import csv
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from augment import FRAME_WORDS
from continue_from import LABELS, write
from extend import ANY_WORDS, NAMED, misspelled_group
from vary import MISSPELLED_WORDS, misspelled

VARIANTS = ("variant-group", "variant-negation")
#: words of a sentence that is taken out of its text, at least and at most
SENTENCE_WORDS = (4, 25)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
#: a word is replaced where so many different ones stand between the same two words, with this probability
FILLERS = 3
REPLACED = 0.3
#: around the words of a text, as its neighbours at both ends
EDGE = ""


def template(text: str) -> str:
    """A text without case, punctuation and names of groups."""
    return " ".join(re.findall(r"\w+", NAMED.sub(" group ", text).lower()))


def evaluation_templates(choices: list[str]) -> set[str]:
    """The templates of the evaluation sets, each given as FILE=COLUMN."""
    templates = set()
    for path, _, column in (choice.rpartition("=") for choice in choices):
        with open(path, encoding="utf-8", newline="") as file:
            templates |= {template(row[column]) for row in csv.DictReader(file)}
    return templates


def variants(files: list[Path], source: str) -> Iterator[str]:
    """The variants of a source that nobody has judged."""
    for path in files:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["source"] == source and not any(row[label] for label in LABELS):
                    yield row["text"]


def sentences(texts: list[str]) -> Iterator[str]:
    """The sentences of the texts that have more than one."""
    least, most = SENTENCE_WORDS
    for text in texts:
        parts = [part.strip() for part in SENTENCE_END.split(text)]
        yield from (part for part in parts if len(parts) > 1 and least <= len(part.split()) <= most)


def replaced_words(texts: list[str], rng: random.Random) -> Iterator[str]:
    """Each of the texts with words replaced by such as other texts have in the same place."""
    fillers: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for text in texts:
        for before, word, after in neighbours(text.split()):
            fillers[before.lower(), after.lower()][word.lower()] = None
    choices = {place: list(words) for place, words in fillers.items() if len(words) >= FILLERS}
    for text in texts:
        words = text.split()
        places = [(before.lower(), after.lower()) for before, _, after in neighbours(words)]
        open_places = [number for number, place in enumerate(places) if place in choices]
        if not open_places:
            continue
        picked = [number for number in open_places if rng.random() < REPLACED] or [rng.choice(open_places)]
        new = list(words)
        for number in picked:
            # The words on both sides stay as they are, as the choices were found between these.
            if number == 0 or new[number - 1] == words[number - 1]:
                new[number] = rng.choice(choices[places[number]])
        yield " ".join(new)


def neighbours(words: list[str]) -> Iterator[tuple[str, str, str]]:
    """The word before, the word and the word after, for each word."""
    padded = [EDGE, *words, EDGE]
    return zip(padded, words, padded[2:], strict=False)


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="CSV of extend.py")
    parser.add_argument("--variants", type=Path, nargs="+", default=[], help="CSV files of extend.py --unjudged")
    parser.add_argument("--evaluation", nargs="+", default=[], metavar="FILE=COLUMN", help="texts to keep out")
    parser.add_argument("--sentences", type=int, default=60000, help="sentences of longer texts, at most")
    parser.add_argument("--words", type=int, default=70000, help="texts with replaced words, at most")
    parser.add_argument("--misspelled", type=int, default=60000, help="misspelled texts, at most")
    parser.add_argument("--only-new", action="store_true", help="leave out the rows of FILE that have no label")
    parser.add_argument("--seed", type=int, default=71)
    parser.add_argument("-o", "--output", required=True, type=Path)
    arguments = parser.parse_args()
    with arguments.file.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rng = random.Random(arguments.seed)
    known = {row["text"] for row in rows} | {row["teacher_text"] for row in rows}
    kept_out = evaluation_templates(arguments.evaluation)
    originals = list(dict.fromkeys(row["text"] for row in rows if not row["source"].startswith("variant-")))
    short = [text for text in originals if len(text.split()) <= FRAME_WORDS]

    def new(texts: Iterator[str]) -> list[str]:
        """Those that are neither known nor in an evaluation set, each once."""
        found = [text for text in dict.fromkeys(texts) if text not in known and template(text) not in kept_out]
        known.update(found)
        return found

    added = [(source, text) for source in VARIANTS for text in new(variants(arguments.variants, source))]
    for source, count, texts in (
        ("variant-sentence", arguments.sentences, new(sentences(originals))),
        ("variant-words", arguments.words, new(replaced_words(short, rng))),
    ):
        # Texts that name a group come first, as the others are most of what the model has seen.
        rng.shuffle(texts)
        texts.sort(key=lambda text: not NAMED.search(text))
        added += [(source, text) for text in texts[:count]]
    if arguments.only_new:
        rows = [row for row in rows if any(row[label] for label in LABELS)]
    pairs = [(source, text, text) for source, text in added]
    named = [text for _, text in added if NAMED.search(text) and len(text.split()) <= MISSPELLED_WORDS]
    for text in rng.sample(named, min(arguments.misspelled, len(named))):
        changed = (misspelled if rng.random() < ANY_WORDS else misspelled_group)(text, rng)
        if changed != text:
            pairs.append(("variant-misspelled", changed, text))
    for number, (source, text, original) in enumerate(pairs):
        shared = {"text": text, "source": source, "split_group": f"unjudged-{number}", "teacher_text": original}
        rows.append(dict.fromkeys(LABELS, "") | shared)
    write(arguments.output, rows)


if __name__ == "__main__":
    main()
