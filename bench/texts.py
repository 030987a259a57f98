"""Documents made of Debian's package descriptions, and queries for them.

Debian folders that apt has filled have the English descriptions of some 60,000
packages. A document takes a few paragraphs of a few packages, drawn at random:
real sentences with the words that real texts have together, as many documents
as are asked for, the same each time for the same descriptions. No more words
come up, though, than the descriptions have.
"""
import glob
import itertools
import os
import random

PARTS = (1, 2, 2, 3, 4)


def paragraphs(folder):
    """The distinct paragraphs of descriptions, in the order of packages."""
    found = {}
    for path in sorted(glob.glob(os.path.join(
            folder, "var/lib/apt/lists/*Translation-en"))):
        with open(path, encoding="utf-8") as file:
            for text in _texts(file):
                found[text] = None
    if not found:
        raise SystemExit(f"no package descriptions in {folder}; run "
                         "apt-get update there")
    return list(found)


def _texts(lines):
    words = []
    for line in lines:
        if line.startswith(" ") and line.strip() != ".":
            words.append(line.strip())
            continue
        if words:
            yield " ".join(words)
        words = []
        if line.startswith("Description-en:"):
            words = [line.partition(":")[2].strip()]


def documents(folder, count):
    source = paragraphs(folder)
    chance = random.Random(1)
    for _ in range(count):
        yield " ".join(chance.choice(source)
                       for _ in range(chance.choice(PARTS)))


def queries(lexemes, terms, count):
    """Sets of lexemes, each set from one of the documents' lists of lexemes."""
    chance = random.Random(terms)
    lists = itertools.cycle(one for one in lexemes if len(one) >= terms)
    return [chance.sample(next(lists), terms) for _ in range(count)]
