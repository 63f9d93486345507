"""How errors are judged: paired on the test rows, with the variance between seeds.

Of two methods, for test row i and seed s (which draws the labelled rows too), w and v say whether the answer was wrong (1)
or not (0). With d_i the mean over seeds of w - v, and D_s its mean over rows:

    difference = mean of d_i      standard error = sqrt(var(d_i) / rows + var(D_s) / seeds)

Variances have n - 1 below. Where all rows are labelled nothing is drawn and a seed of one method has no partner in the
other: then d_i is the difference of each one's mean over its own seeds, and the variance between seeds is the sum of both.
A single seed shows no variance between seeds.
"""

import math
import statistics
from dataclasses import dataclass

Wrong = dict[int, list[int]]  # seed -> 1 or 0 for each test row


@dataclass(frozen=True)
class Estimate:
    mean: float
    standard_error: float


def mean_over_seeds(wrong: Wrong) -> list[float]:
    return [sum(row) / len(wrong) for row in zip(*wrong.values(), strict=True)]


def variance(values: list[float]) -> float:
    return statistics.variance(values) if len(values) > 1 else 0.0


def of_seeds(wrong: Wrong) -> float:
    """Variance between the seeds' errors, divided by their number."""
    return variance([statistics.fmean(rows) for rows in wrong.values()]) / len(wrong)


def error(wrong: Wrong) -> Estimate:
    rows = mean_over_seeds(wrong)
    return Estimate(statistics.fmean(rows), math.sqrt(variance(rows) / len(rows) + of_seeds(wrong)))


def difference(ours: Wrong, theirs: Wrong, drawn: bool) -> Estimate | None:
    """Of our error less theirs; drawn: whether a seed means the same labelled rows for both. None without a common seed."""
    if drawn:
        common = ours.keys() & theirs.keys()
        if not common:
            return None
        pairs = {seed: [w - v for w, v in zip(ours[seed], theirs[seed], strict=True)] for seed in sorted(common)}
        return error(pairs)
    rows = [w - v for w, v in zip(mean_over_seeds(ours), mean_over_seeds(theirs), strict=True)]
    return Estimate(statistics.fmean(rows), math.sqrt(variance(rows) / len(rows) + of_seeds(ours) + of_seeds(theirs)))


def verdict(difference: Estimate) -> str:
    """Two standard errors decide."""
    if abs(difference.mean) <= 2 * difference.standard_error:
        return "level"
    return "below" if difference.mean < 0 else "above"


def verdict_of_all(differences: list[Estimate]) -> str:
    """Below when below each, above when above any."""
    said = {verdict(one) for one in differences}
    return "above" if "above" in said else "level" if "level" in said else "below"
