"""Which test rows share a run of 50 letters and digits, case folded, with a text.

overlaps.sh TEST.tsv[.gz] TEXT... : a TEXT is a TSV under the header label<TAB>text, or plain text; a run lies within a
line; .gz and .zst are unpacked. Prints a line of JSON for each text. Exit status 1 if any row overlaps with any.
"""

import gzip
import json
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Iterable, Iterator

import numpy

from labelled import letters_and_digits, read_rows

RUN = 50
LINES = 20000  # of a text at a time
BASE = 0x9E3779B97F4A7C15  # of the hash: odd


class Runs:
    """The letters and digits of lines, with the hash of every run of RUN of them that lies within a line."""

    def __init__(self, lines: Iterable[str]):
        kept = [letters_and_digits(line) + "\0" for line in lines]
        self.letters = numpy.frombuffer("".join(kept).encode("utf-32-le"), dtype=numpy.uint32)
        self.ends = numpy.cumsum([len(line) for line in kept])  # of the lines
        # Where a run begins: nothing but its line's end may be less than RUN places away.
        places = numpy.arange(max(0, len(self.letters) - RUN + 1))
        self.places = places[self.ends[self.line_of(places)] - places > RUN]
        self.hashes = hashes(self.letters)[self.places]

    def line_of(self, places):
        return numpy.searchsorted(self.ends, places, side="right")

    def at(self, place: int) -> bytes:
        return self.letters[place:place + RUN].tobytes()


def hashes(letters):
    """For every place the sum of letter i · BASE^(RUN - 1 - i), modulo 2^64, over the RUN letters from there on.
    Of runs that follow one another: hash(first, next) = hash(first) · BASE^(letters of next) + hash(next)."""
    def joined(first, length, following, size):
        count = max(0, len(letters) - length - size + 1)
        return first[:count] * numpy.uint64(pow(BASE, size, 1 << 64)) + following[length:length + count]

    whole, length = numpy.zeros(len(letters) + 1, numpy.uint64), 0
    power, size = letters.astype(numpy.uint64), 1  # of 1, 2, 4, ... letters
    while size <= RUN:
        if RUN & size:
            whole, length = joined(whole, length, power, size), length + size
        power, size = joined(power, size, power, size), 2 * size
    return whole


def overlapping(rows: Iterable[str], lines: Iterable[str]) -> list[int]:
    """The numbers of the rows that share a run with a line."""
    known = Runs(rows)
    order = numpy.argsort(known.hashes, kind="stable")
    sorted_hashes, places = known.hashes[order], known.places[order]
    found: set[int] = set()
    lines = iter(lines)
    while part := list(islice(lines, LINES)):
        text = Runs(part)
        asked, first = numpy.unique(text.hashes, return_index=True)
        begin, end = (numpy.searchsorted(sorted_hashes, asked, side=side) for side in ("left", "right"))
        for hit in numpy.flatnonzero(end > begin):
            run = text.at(text.places[first[hit]])
            for place in places[begin[hit]:end[hit]]:  # equal hashes are not yet equal letters
                row = int(known.line_of(place))
                if row not in found and known.at(place) == run:
                    found.add(row)
    return sorted(found)


def lines_of(path: Path) -> Iterator[str]:
    if path.suffix == ".zst":
        with subprocess.Popen(["zstd", "-dcq", path], stdout=subprocess.PIPE, text=True, encoding="utf-8") as unpack:
            yield from unpack.stdout
        if unpack.returncode != 0:
            sys.exit(f"{path}: zstd cannot unpack it")
    else:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8", newline="\n") as file:
            yield from file


def main(arguments: list[str]) -> int:
    if len(arguments) < 2 or arguments[0].startswith("-"):
        sys.exit(__doc__)
    test, any_of_them = [text for _, text in read_rows(Path(arguments[0]))], False
    for name in arguments[1:]:
        labelled = ".tsv" in Path(name).suffixes
        found = overlapping(test, (line.partition("\t")[2] for line in lines_of(Path(name))) if labelled
                            else lines_of(Path(name)))
        any_of_them = any_of_them or bool(found)
        print(json.dumps({"text": name, "rows": len(test), "overlapping": len(found), "which": found[:1000]}), flush=True)
    return 1 if any_of_them else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
