"""What validation said of each candidate, over the seeds: the evidence for a choice of options, without the test set.

choices.py TUNED.jsonl [METHOD...] : for each task, number of labels and method a table of the candidates, each
paired with the first on the rows validated. The standard error is that over these rows plus the variance between seeds.
"""

import math
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from cells import Records, unpack, words
from compare import Estimate, variance, verdict

Seeds = list[list[int]]  # wrong answers by seed; each seed validates on rows of its own


def estimate(differences: Seeds) -> Estimate:
    rows = [value for seed in differences for value in seed]
    between = variance([statistics.fmean(seed) for seed in differences]) / len(differences)
    return Estimate(statistics.fmean(rows), math.sqrt(variance(rows) / len(rows) + between))


def table(records: list[dict[str, Any]]) -> list[str]:
    """records: of one task, number of labels and method, a seed each."""
    wrong: dict[str, Seeds] = {}
    for record in records:
        for one in record["candidates"]:
            wrong.setdefault(words(one["options"]), []).append(unpack(one["wrong"], record["validated"]))
    first = next(iter(wrong.values()))
    lines = ["| options | validation error, % | less the first's | |", "|---|---|---|---|"]
    for options, own in wrong.items():
        to = estimate([[w - v for w, v in zip(ours, theirs, strict=True)] for ours, theirs in zip(own, first, strict=True)])
        found = estimate(own)
        lines.append(f"| {options} | {100 * found.mean:.2f} ± {100 * found.standard_error:.2f} | {100 * to.mean:+.2f} ± "
                     f"{100 * to.standard_error:.2f} | {verdict(to) if own is not first else ''} |")
    return lines


def main(arguments: list[str]) -> None:
    if not arguments or arguments[0].startswith("-"):
        sys.exit(__doc__)
    groups: dict[tuple[str, str, str], dict[tuple[int, str], dict[str, Any]]] = defaultdict(dict)
    for record in Records(Path(arguments[0])).all():
        if record["candidates"] and (not arguments[1:] or record["method"] in arguments[1:]):
            of_candidates = str([one["options"] for one in record["candidates"]])
            groups[record["task"], record["labels"], record["method"]][record["seed"], of_candidates] = record
    for (task, labels, method), found in groups.items():
        for candidates in dict.fromkeys(candidates for _, candidates in found):
            records = [record for (_, own), record in found.items() if own == candidates]
            validated = sum(record["validated"] for record in records)
            print(f"\n{task}, {labels} labels, {method}: {len(records)} seeds, {validated} rows validated\n")
            print("\n".join(table(records)))


if __name__ == "__main__":
    main(sys.argv[1:])
