"""Makes the files of the tutorial in the current folder: labelled.csv, test.csv and posts.csv.

The comments are about a café. They are put together from phrases, so they are simpler than real ones. A comment is
offensive if it is rude to somebody, whether or not the guest was pleased.
"""

from __future__ import annotations

import csv
import itertools
import random
from pathlib import Path

THINGS = ["the soup", "the coffee", "the new menu", "the terrace", "my order", "the cake", "the music", "breakfast"]
OPINIONS = ["was lovely", "was fine", "took an hour", "was cold again", "is too loud", "has never been better"]
KIND = ["thanks to everybody", "see you on Sunday", "please bring it back", "I would come again", "maybe next time"]
RUDE = [
    "whoever made it is a fool",
    "your cook is a lazy clown",
    "you people are useless",
    "get lost, you silly donkey",
]
COUNTRIES = ["DE", "FR", "PT"]


def comments(rng: random.Random) -> list[tuple[str, str, str]]:
    """All comments in random order: text, kind, country."""
    rows = []
    for thing, opinion, (kind, ending) in itertools.product(
        THINGS, OPINIONS, [*(("fine", one) for one in KIND), *(("offensive", one) for one in RUDE)]
    ):
        rows.append((f"{thing[0].upper()}{thing[1:]} {opinion}, {ending}", kind, rng.choice(COUNTRIES)))
    rng.shuffle(rows)
    return rows


def main() -> None:
    """Writes the files. A few comments of labelled.csv occur twice, as they do in real files."""
    rows = comments(random.Random(7))
    labelled, test, posts = rows[:240], rows[240:320], rows[320:380]
    _write("labelled.csv", ["comment", "kind", "country"], [*labelled, *labelled[:12]])
    _write("test.csv", ["comment", "kind", "country"], test)
    _write("posts.csv", ["id", "comment"], [(number, text) for number, (text, _, _) in enumerate(posts)])


def _write(name: str, header: list[str], rows: list[tuple[object, ...]]) -> None:
    with Path(name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
