"""Labelled rows: reading them, drawing some, splitting off those to validate on, and finding those that repeat."""

import gzip
import hashlib
import random
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Iterable

sys.path.append(str(Path(__file__).resolve().parent.parent))
from labelled_set import split_off  # noqa: E402
import labelled_text  # noqa: E402
from labelled_text import fraction  # noqa: E402

Row = tuple[str, str]  # label, text
Fold = tuple[list[Row], list[Row]]  # rows to train on, rows to validate on

FOLDS = 5
SPLIT_FROM = 2000  # from so many rows on one split by hash replaces the folds
SPLIT_SHARE = 0.1


def read_lines(path: Path) -> list[str]:
    """Split at line feeds alone: other control characters belong to the text."""
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8", newline="\n") as file:
        return file.read().replace("\r", " ").removesuffix("\n").split("\n")


def read_rows(path: Path) -> list[Row]:
    """The rows of a TSV under the header label<TAB>text."""
    header, *lines = read_lines(path)
    if header.strip() != "label\ttext":
        sys.exit(f"{path}: the first line must be label<TAB>text")
    rows = [tuple(line.split("\t", 1)) for line in lines]
    for number, row in enumerate(rows, start=2):
        if len(row) != 2:
            sys.exit(f"{path}:{number}: not a label, a tab and a text")
    return rows


def write_lines(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    labelled_text.write_lines(str(path), lines)


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    write_lines(path, ["label\ttext"] + [f"{label}\t{text}" for label, text in rows])


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def draw(rows: list[Row], count: int, seed: int) -> list[Row]:
    """`count` rows, as many of each class as possible: the classes in turn, each in an order shuffled by the seed."""
    if count >= len(rows):
        return rows
    classes: dict[str, list[Row]] = {}
    for row in rows:
        classes.setdefault(row[0], []).append(row)
    generator = random.Random(seed)
    for label in sorted(classes):
        generator.shuffle(classes[label])
    longest = max(map(len, classes.values()))
    turns = (classes[label][turn] for turn in range(longest) for label in sorted(classes) if turn < len(classes[label]))
    return [row for row, _ in zip(turns, range(count))]


def sample(rows: list[Row], count: int) -> list[Row]:
    """So many of the rows, by hash, in their order; all where there are no more."""
    chosen = sorted(range(len(rows)), key=lambda number: fraction("sample " + rows[number][1]))[:count]
    return [rows[number] for number in sorted(chosen)]


def letters_and_digits(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


def folds(rows: list[Row]) -> list[Fold]:
    """What strengths are chosen by: one split by hash of many rows, stratified folds of few; equal texts on one side."""
    if len(rows) >= SPLIT_FROM:
        return [split_off(rows, SPLIT_SHARE)]
    fold_of: dict[str, int] = {}
    for label in sorted({label for label, _ in rows}):
        texts = {letters_and_digits(text) for own, text in rows if own == label} - fold_of.keys()
        for text in sorted(texts, key=lambda text: fraction("fold " + text)):
            fold_of[text] = len(fold_of) % FOLDS
    dealt = [fold_of[letters_and_digits(text)] for _, text in rows]
    pairs = [([row for row, own in zip(rows, dealt) if own != fold], [row for row, own in zip(rows, dealt) if own == fold])
             for fold in range(FOLDS)]
    return [(train, valid) for train, valid in pairs if train and valid]


def repeated(train: list[Row], test: list[Row]) -> list[int]:
    """Which test rows have the letters and digits of a training row."""
    known = {letters_and_digits(text) for _, text in train}
    return [number for number, (_, text) in enumerate(test) if letters_and_digits(text) in known]


def commonest(rows: list[Row]) -> str:
    """The commonest label, the first in the alphabet among equals."""
    counts = Counter(label for label, _ in rows)
    return min(counts, key=lambda label: (-counts[label], label))
