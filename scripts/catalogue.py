#!/usr/bin/env python3
"""Debian's package catalogue as text for three stages: descriptions, with the archive section as the label.

catalogue.py --packages FILE --translations FILE --output DIR [--labels N]

PACKAGES holds the stanzas of Packages files, TRANSLATIONS those of Translation-en files (the long descriptions), both
plain. The task is to tell the section of a package from its description.

Nothing gives the answer away: the words of the package's and its source's names and the names of the sections are taken
out of the task's text. Nothing straddles the split: a family of packages (one source, whatever its version) falls into
train, valid or test as a whole, by a hash of its name; stage 1 reads no family that the task validates or tests on;
texts that occur twice are used once. The same input gives the same output.
"""

import argparse
import functools
import re
import sys
from collections import Counter

from labelled_text import fraction, one_line, write_folder

# The task's classes and the sections that make them up. The other sections are the text of stage 1.
CLASSES = {
    "administration": ["admin"],
    "databases": ["database"],
    "desktop": ["x11", "gnome", "kde", "xfce"],
    "editing": ["text", "editors"],
    "games": ["games"],
    "graphics": ["graphics"],
    "mail": ["mail", "news"],
    "mathematics": ["math"],
    "multimedia": ["sound", "video"],
    "network": ["net", "comm"],
    "science": ["science", "electronics", "hamradio"],
    "web": ["web", "httpd"],
}
CLASS_OF = {section: label for label, sections in CLASSES.items() for section in sections}
# Dependencies, not descriptions; and the packages of translations and fonts, whose texts differ in one word.
LEFT_OUT = {"metapackages", "tasks", "oldlibs", "debug", "localization", "fonts"}


def stanzas(lines):
    """The stanzas of a control file as {field: value}; continuation lines keep their leading blank."""
    fields, name = {}, None
    for line in lines:
        line = line.rstrip("\n")
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, None
        elif line[0] in " \t":
            if name is not None:
                fields[name] += "\n" + line
        else:
            name, colon, value = line.partition(":")
            if colon:
                fields[name] = value.strip()
            else:
                name = None
    if fields:
        yield fields


def paragraphs(description):
    """A description's paragraphs, a line each: the first is the short one, " ." ends the others."""
    short, _, rest = description.partition("\n")
    parts = [short] + re.split(r"(?m)^ \.\s*$", rest)
    return [line for line in map(one_line, parts) if line]


def family(source):
    """The source's name without version numbers, so that postgresql-13 and postgresql-15 are one."""
    return re.sub(r"[-._]?\d[\d.]*", "", source.lower()) or source.lower()


def name_words(*names):
    """The words in names of packages, with and without the prefixes and suffixes that only packaging adds."""
    words = set()
    for name in names:
        pieces = re.split(r"[^a-z0-9]+", name.lower())
        for piece in [name.lower(), "".join(pieces)] + pieces:
            for word in (piece, re.sub(r"^lib", "", piece), re.sub(r"\d+$", "", piece)):
                if len(word) >= 2:
                    words.add(word)
    return frozenset(words)


# The sections' and the classes' names, singular and plural.
LABEL_WORDS = frozenset(
    form
    for word in list(CLASS_OF) + list(CLASSES)
    for stem in [word[:-1] if word.endswith("s") and len(word) > 4 else word]
    for form in (stem, stem + "s")
)


@functools.lru_cache(maxsize=16)
def pattern_of(words):
    """Matches the words of a frozenset as whole words, whatever their case; long ones also taken apart: "Chess-Mate"."""
    def letters(word):
        return ("[-_ ]?" if len(word) >= 5 else "").join(map(re.escape, word))
    alternatives = "|".join(letters(word) for word in sorted(words, key=lambda w: (-len(w), w)))
    return re.compile(rf"(?<![^\W_])(?:{alternatives})(?![^\W_])", re.IGNORECASE)


def without_words(text, *sets):
    """The text without the words of these frozensets, and without what the removal left dangling."""
    for words in sets:
        text = pattern_of(words).sub(" ", text)
    text = re.sub(r"[(\[\"'`]\s*[)\]\"'`]", " ", text)  # brackets and quotes around nothing
    return re.sub(r"\s+([.,;:!?)])", r"\1", one_line(text)).lstrip(".,;:!?)-/ ")


def entries(packages, translations):
    """(package, source, section, paragraphs) of every package, in the order of names, each name once."""
    long_text = {s["Description-md5"]: s["Description-en"] for s in translations
                 if "Description-md5" in s and "Description-en" in s}
    seen = {}
    for s in packages:
        if "Package" in s and "Section" in s:
            seen.setdefault(s["Package"], s)
    for name in sorted(seen):
        s = seen[name]
        text = long_text.get(s.get("Description-md5", ""), s.get("Description", ""))
        source = s.get("Source", name).split(" ")[0]
        yield name, source, s["Section"].rpartition("/")[2], paragraphs(text)


def part_of(source):
    at = fraction("split " + family(source))
    return "train" if at < 0.8 else "valid" if at < 0.87 else "test"


def prepare(packages, translations):
    """The lines of stage 1, of its validation, and the task's rows by part."""
    everything = list(entries(packages, translations))
    task_families = {family(source) for _, source, section, _ in everything if section in CLASS_OF}
    held_out = {f for f in task_families if part_of(f) != "train"}

    rows, texts, used = {"train": [], "valid": [], "test": []}, set(), set()
    for name, source, section, parts in everything:
        label = CLASS_OF.get(section)
        if label is None or (family(source), label) in used:  # one package stands for its family
            continue
        text = without_words(" ".join(p if p[-1] in ".:;!?" else p + "." for p in parts),
                             LABEL_WORDS, name_words(name, source, family(source)))
        if len(text) >= 40 and text not in texts:
            texts.add(text)
            used.add((family(source), label))
            rows[part_of(source)].append((fraction("row " + name), label, text))
    for part in rows:  # in an order that has nothing to do with names, so that any beginning is a fair sample
        rows[part] = [(label, text) for _, label, text in sorted(rows[part])]

    general, general_valid, paragraphs_seen = [], [], set()
    for _, source, section, parts in everything:
        if section in CLASS_OF or section in LEFT_OUT or family(source) in held_out:
            continue
        fresh = [p for p in parts if p not in paragraphs_seen]
        paragraphs_seen.update(fresh)
        line = " ".join(p if p[-1] in ".:;!?" else p + "." for p in fresh)
        if len(line) >= 40:
            (general_valid if fraction("general " + family(source)) < 0.02 else general).append(
                (fraction("line " + line), line))
    return ([line for _, line in sorted(general)], [line for _, line in sorted(general_valid)], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--packages", required=True)
    parser.add_argument("--translations", required=True)
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--labels", type=int, default=4000, help="rows of train.tsv (default 4000)")
    options = parser.parse_args()

    def read(path):
        with open(path, encoding="utf-8", errors="replace") as file:
            return list(stanzas(file))

    general, general_valid, rows = prepare(read(options.packages), read(options.translations))
    labels = Counter(label for label, _ in rows["train"])
    if len(labels) < 2 or not rows["test"] or not general:
        sys.exit("catalogue.py: too few packages in this catalogue; apt-get update -o Acquire::Languages=en brings it whole")
    write_folder(options.output, general, general_valid, rows, options.labels)


if __name__ == "__main__":
    main()
