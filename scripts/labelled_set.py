#!/usr/bin/env python3
"""A labelled set as text for three stages.

labelled_set.py --data DIR --task NAME --output DIR [--labels N]

DIR/NAME holds train.tsv and test.tsv, perhaps valid.tsv or dev.tsv; DIR/wikitext-2 holds train.txt and valid.txt, the
text of stage 1; any of them may be gzipped (.gz). A TSV has the header label<TAB>text and a record a line. Without a
validation set a tenth of the training rows becomes one, repeated texts on one side.
"""

import argparse
import gzip
import os
import re
import sys

from labelled_text import fraction, one_line, write_folder


def lines_of(folder, *names):
    """The lines of the first of these files that is there, plain or gzipped; None if none is."""
    for name in names:
        for path, opened in ((os.path.join(folder, name), open), (os.path.join(folder, name + ".gz"), gzip.open)):
            if os.path.isfile(path):
                with opened(path, "rt", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
                    return path, file.read().split("\n")
    return None


def rows_of(folder, *names):
    """[(label, text)] of a TSV file; None if there is none."""
    found = lines_of(folder, *names)
    if found is None:
        return None
    path, lines = found
    if lines[0].rstrip("\r") != "label\ttext":
        sys.exit(f"{path}: the first line must be label<TAB>text")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        label, tab, text = line.partition("\t")
        if tab and label and text:
            rows.append((label, one_line(text)))
        elif line:
            sys.exit(f"{path}:{number}: not a label, a tab and a text")
    return rows


def split_off(rows, share):
    """(kept, split off): by a hash of the letters and digits, so that equal texts stay together."""
    def key(text):
        return fraction("split " + re.sub(r"[\W_]+", " ", text.lower()).strip())
    return ([row for row in rows if key(row[1]) >= share], [row for row in rows if key(row[1]) < share])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, metavar="DIR")
    parser.add_argument("--task", required=True, metavar="NAME")
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--labels", type=int, default=4000, help="rows of train.tsv (default 4000)")
    options = parser.parse_args()

    folder = os.path.join(options.data, options.task)
    rows = {part: rows_of(folder, *names) for part, names in
            {"train": ["train.tsv"], "valid": ["valid.tsv", "dev.tsv"], "test": ["test.tsv"]}.items()}
    for part in ("train", "test"):
        if not rows[part]:
            sys.exit(f"labelled_set.py: {folder} holds no {part}.tsv or {part}.tsv.gz with rows in it")
    if rows["valid"] is None:
        rows["train"], rows["valid"] = split_off(rows["train"], 0.1)
    for part in rows:  # in an order that has nothing to do with the file's, so that any beginning is a fair sample
        rows[part].sort(key=lambda row: fraction("row " + row[1]))

    corpus = os.path.join(options.data, "wikitext-2")
    general, general_valid = lines_of(corpus, "train.txt"), lines_of(corpus, "valid.txt")
    if general is None or general_valid is None:
        sys.exit(f"labelled_set.py: {corpus} holds no train.txt and valid.txt (plain or gzipped), the text of stage 1")
    general, general_valid = ([line for line in map(one_line, lines) if line] for _, lines in (general, general_valid))
    write_folder(options.output, general, general_valid, rows, options.labels)


if __name__ == "__main__":
    main()
