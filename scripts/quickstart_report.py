#!/usr/bin/env python3
"""What came out of a quickstart, as a table and ten predictions. quickstart_report.py FOLDER MODEL"""

import json
import math
import os
import sys
import textwrap


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
    folder, model = sys.argv[1:]

    def at(*parts):
        return os.path.join(folder, *parts)

    with open(at("fit", "report.json"), encoding="utf-8") as file:
        fit = json.load(file)
    scratch = last_json(at("scratch", "metrics.jsonl"), "test")
    test = rows_of(at("text", "test.tsv"))
    rows = [(f"three stages: from {model}, with the words", fit["classifier"]["error"])]
    if "network" in fit:
        rows.append((f"three stages: from {model}, the network alone", fit["network"]["error"]))
    names = {"linear": "a linear model of words (TF-IDF)", "majority": "always the commonest class"}
    rows += [(names.get(key, key), baseline["error"]) for key, baseline in fit["baselines"].items()]
    rows.append(("the network from scratch", scratch["error"]))
    title = f"Error on {len(test)} test texts, {fit['words_rows']} labels"
    print(f"\n  {title:<56}{'per cent':>10}")
    for name, error in sorted(rows, key=lambda row: row[1]):
        deviation = math.sqrt(error * (1 - error) / len(test))
        print(f"    {name:<54}{100 * error:>10.1f} +- {100 * deviation:.1f}")

    first = [line for line in map(json.loads, read_lines(at("stage1", "metrics.jsonl"))) if line["kind"] == "train"][0]
    last = last_json(at("stage1", "metrics.jsonl"), "valid")
    print(f"\n  Stage 1, a minute of it: perplexity a token from {math.exp(first['loss']):,.0f} to "
          f"{last['perplexity']:,.0f} on text not trained on.\n  What comes with the program has read for longer: models/README.md")

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
