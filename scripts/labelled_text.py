"""What both preparations of the quickstart share: where a text belongs, and how its files are written.

A prepared folder holds the text of the three stages:
  general.txt general.valid.txt   stage 1, a document a line
  domain.txt domain.valid.txt     stage 2, the task's own text without labels: of its training and validation rows
  train.tsv valid.tsv test.tsv    stage 3: label<TAB>text under a header
"""

import hashlib
import os


def fraction(key):
    """A number in [0, 1) that depends on nothing but the key."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()[:8], "big") / 2**64


def one_line(text):
    """The text with every run of white space as one blank."""
    return " ".join(text.split())


def write_lines(path, lines):
    """Appears under its name only when whole."""
    partial = path + ".partial"
    with open(partial, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as out:
        out.writelines(line + "\n" for line in lines)
        out.flush()
        os.fsync(out.fileno())
    os.replace(partial, path)


MOST_VALID, MOST_TEST = 1000, 2000  # rows enough for a standard error near 1 per cent, few enough to be quick


def write_folder(folder, general, general_valid, rows, labels):
    """rows: {"train" | "valid" | "test": [(label, text)]}. The first `labels` of train keep their labels."""
    rows = {"train": rows["train"], "valid": rows["valid"][:MOST_VALID], "test": rows["test"][:MOST_TEST]}
    os.makedirs(folder, exist_ok=True)
    write_lines(os.path.join(folder, "general.txt"), general)
    write_lines(os.path.join(folder, "general.valid.txt"), general_valid)
    write_lines(os.path.join(folder, "domain.txt"), (text for _, text in rows["train"]))
    write_lines(os.path.join(folder, "domain.valid.txt"), (text for _, text in rows["valid"]))
    for part, limit in (("train", labels), ("valid", None), ("test", None)):
        table = ["label\ttext"] + [f"{label}\t{text}" for label, text in rows[part][:limit]]
        write_lines(os.path.join(folder, part + ".tsv"), table)
    classes = {label for label, _ in rows["train"]}
    print(f"stage 1: {len(general)} texts, {sum(map(len, general)) / 1e6:.1f} MB; "
          f"stage 2: {len(rows['train'])} texts, {sum(len(text) for _, text in rows['train']) / 1e6:.1f} MB; "
          f"stage 3: {min(labels, len(rows['train']))} labels of {len(classes)} classes, "
          f"{len(rows['valid'])} texts to validate, {len(rows['test'])} to test")
