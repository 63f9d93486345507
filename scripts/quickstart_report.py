#!/usr/bin/env python3
"""What came out of a quickstart, as a table and ten predictions. quickstart_report.py FOLDER"""

import json
import math
import os
import sys
import textwrap
from collections import Counter


def read_lines(path):
    with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
        return file.read().split("\n")[:-1]


def last_json(path, kind=None):
    """The last JSON line of a file, or the last of that kind."""
    found = None
    for line in read_lines(path):
        if line.startswith("{"):
            record = json.loads(line)
            if kind is None or record.get("kind") == kind:
                found = record
    if found is None:
        sys.exit(f"quickstart_report.py: {path} holds no result{' of kind ' + kind if kind else ''}")
    return found


def rows_of(path):
    return [line.split("\t", 1) for line in read_lines(path)[1:]]


def main():
    folder = sys.argv[1]

    def at(*parts):
        return os.path.join(folder, *parts)

    print(f"  {'Perplexity on text not trained on':<52}{'per token':>10}{'per word':>10}")
    for name, result in (("general text: after stage 1", last_json(at("stage1", "metrics.jsonl"), "valid")),
                         ("the task's text: after stage 1", last_json(at("stage1.domain.json"))),
                         ("the task's text: after stage 2", last_json(at("stage2", "metrics.jsonl"), "valid"))):
        print(f"    {name:<50}{result['perplexity']:>10.1f}{result['word_perplexity']:>10.1f}")

    labelled, test = rows_of(at("text", "labelled.tsv")), rows_of(at("text", "test.tsv"))
    majority = Counter(label for label, _ in labelled).most_common(1)[0][0]
    errors = [(f'always "{majority}", the commonest class', sum(label != majority for label, _ in test) / len(test)),
              ("classifier from scratch", last_json(at("scratch", "metrics.jsonl"), "test")["error"]),
              ("classifier after all three stages", last_json(at("stage3", "metrics.jsonl"), "test")["error"])]
    print(f"\n  {f'Error on {len(test)} test texts, {len(labelled)} labels':<52}{'per cent':>10}")
    for name, error in errors:
        deviation = math.sqrt(error * (1 - error) / len(test))
        print(f"    {name:<50}{100 * error:>10.1f} +- {100 * deviation:.1f}")

    print("\n  Ten test texts (what the classifier says, how sure it is, and the truth where it differs)")
    predictions = [line.split("\t") for line in read_lines(at("ten.tsv"))]
    if len(predictions) > 10:  # a header stands above them
        predictions = predictions[1:]
    for (label, text), (predicted, *probabilities) in zip(test[:10], predictions):
        sure = f"{100 * max(map(float, probabilities)):.0f} %" if probabilities else ""
        truth = "" if predicted == label else f"  (truth: {label})"
        print(f"\n    {predicted}, {sure}{truth}")
        print(textwrap.fill(textwrap.shorten(text, 200, placeholder=" ..."), 100, initial_indent="      ",
                            subsequent_indent="      "))


if __name__ == "__main__":
    main()
