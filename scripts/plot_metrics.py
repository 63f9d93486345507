#!/usr/bin/env python3
"""Loss curves of runs, drawn over one another: what they lost in training (a mean over a window) and on validation text.

  plot_metrics.py RUN [RUN...] --output FILE.png [--window STEPS] [--within PER_CENT]

RUN is a run folder (its metrics.jsonl is read); FILE ends in .png, .svg or .pdf. Of two runs or more it prints how far
each lies from the first at equal steps; with --within, exit status 1 where one lies farther than that.
Needs matplotlib (Debian: apt-get install python3-matplotlib).
"""

import argparse
import json
import os
import sys


def read_metrics(run):
    path = os.path.join(run, "metrics.jsonl")
    try:
        with open(path, encoding="utf-8") as file:
            records = [json.loads(line) for line in file]
    except (OSError, json.JSONDecodeError) as error:
        sys.exit(f"plot_metrics.py: {path}: {error}")
    return ({r["step"]: r["loss"] for r in records if r["kind"] == "train"},
            {r["step"]: r["loss"] for r in records if r["kind"] == "valid"})


def window_means(losses, window):
    """The mean loss of every `window` steps, by the last of them."""
    sums = {}
    for step, loss in losses.items():
        sums.setdefault((step + window - 1) // window * window, []).append(loss)
    return {last: sum(each) / len(each) for last, each in sorted(sums.items())}


def distance(first, other):
    """The largest distance at equal steps in per cent of the first, and its step."""
    return max(((100 * abs(other[step] / first[step] - 1), step) for step in first if step in other), default=(0, 0))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--output", required=True)
    parser.add_argument("--window", type=int, default=50)
    parser.add_argument("--within", type=float)
    options = parser.parse_args()
    try:
        import matplotlib
        matplotlib.use("Agg")
        import matplotlib.pyplot as plot
    except ImportError:
        sys.exit("plot_metrics.py: matplotlib is missing: apt-get install python3-matplotlib")

    curves = []
    for run in options.runs:
        train, valid = read_metrics(run)
        if not train:
            sys.exit(f"plot_metrics.py: {run} holds no training loss yet")
        curves.append((os.path.basename(os.path.normpath(run)), window_means(train, options.window), valid))

    figure, (above, below) = plot.subplots(2, 1, sharex=True, figsize=(8, 6), height_ratios=(3, 1))
    for place, (name, train, valid) in enumerate(curves):
        line, = above.plot(list(train), list(train.values()), label=name, color=f"C{place}", linewidth=1,
                           linestyle="-" if place == 0 else "--")
        above.plot(list(valid), list(valid.values()), "o", color=line.get_color(), markersize=5 - place)
    above.set_ylabel("loss, nats a token")
    above.legend(title=f"line: training, mean of {options.window} steps; dot: validation")
    _, first_train, first_valid = curves[0]
    far = False
    for place, (name, train, valid) in enumerate(curves[1:], start=1):
        for kind, first, other, style in (("training", first_train, train, "-"), ("validation", first_valid, valid, "o")):
            steps = [step for step in first if step in other]
            below.plot(steps, [100 * (other[step] / first[step] - 1) for step in steps], style, color=f"C{place}",
                       linewidth=1, markersize=4)
            most, step = distance(first, other)
            far = far or (options.within is not None and most > options.within)
            print(f"{name}: {kind} loss at most {most:.2f} % from that of {curves[0][0]} (step {step}; "
                  f"{len(steps)} places compared)")
    below.axhline(0, color="0.5", linewidth=0.5)
    below.set_ylabel(f"% of {curves[0][0]}")
    below.set_xlabel("step")
    figure.tight_layout()
    figure.savefig(options.output, dpi=120)
    print(options.output)
    return 1 if far else 0


if __name__ == "__main__":
    sys.exit(main())
