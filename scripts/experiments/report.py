"""docs/results.md and its pictures, from the lines of results that the tables wrote."""

import argparse
import os
import re
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from cells import ROOT, Records, unpack, words
from compare import Estimate, Wrong, difference, error, verdict, verdict_of_all

Record = dict[str, Any]
Group = dict[str, list[Record]]  # row of a table -> its records, a seed each

TITLES = {
    "majority": "always the commonest label (the first of equals)",
    "tf-idf": "TF-IDF, logistic regression",
    "nb-ngrams": "naive-Bayes-weighted n-grams, logistic regression",
    "fasttext": "fastText",
    "fastai-ulmfit": "fastai's ULMFiT, the same text and minutes",
    "last-layer": "ulmpi, last layer only",
    "scratch": "ulmpi from scratch",
    "without-stage-2": "ulmpi without stage 2",
    "three-stages": "**ulmpi, three stages**",
    "with-words": "**ulmpi, three stages with the words**",
    "pseudo-labels": "**ulmpi, three stages with the words, pseudo-labels**",
    "ensemble": "ulmpi, three stages, three networks in one file",
    "distilled": "ulmpi, three stages, one network distilled from those",
    "transferred-vocabulary": "ulmpi, three stages, the domain's own vocabulary, transferred",
    "random-vocabulary": "ulmpi, three stages, the domain's own vocabulary, random rows",
}
COMPARED = [("three-stages", other) for other in ("scratch", "last-layer", "without-stage-2")] + [
    ("with-words", "three-stages"), ("pseudo-labels", "with-words"), ("ensemble", "three-stages"), ("distilled", "ensemble"),
    ("transferred-vocabulary", "random-vocabulary"), ("transferred-vocabulary", "three-stages")]
BASELINES = ("majority", "tf-idf", "nb-ngrams", "fasttext", "fastai-ulmfit")
SETS = {"trec6": "TREC-6", "sst2": "SST-2, sentences", "ag_news": "AG News, the first 10,429 training rows", "imdb": "IMDb",
        "banking-train": "banking77", "mr-train": "MR, a random split", "subj-train": "Subj, a random split"}

HEAD = """# Results

Made by `scripts/experiments/report.sh`; the tables' commands write the figures, this file is not edited.

Errors in % of the test rows ± standard error. Strengths (rates, regularisation, n-grams, epochs) are chosen on labelled
training rows alone: one split by hash from 2,000 rows on, five stratified folds below; the model that is reported is
trained on all rows, and each cell has read the official test set once. With the same seed all methods are trained on the
same labelled rows.

Differences are paired: for each test row the mean over seeds of one error minus the other. Their standard error is that
over rows plus the variance between seeds, label draws included, divided by the number of seeds. "Below" and "above" mean
by more than two of these; anything less is "level". The verdict is against every baseline at once (the commonest label,
TF-IDF, n-grams, fastText, fastai): below means below each of them. "Once" leaves out the test rows whose letters and
digits occur in a training row. "Calibration" is the expected calibration error in %, of 15 bins of equal width. Seconds are those of training on all rows and testing, a seed; choosing the strength and
what all cells of a task share (stage 2) stand beside.
"""


def row_of(record: Record) -> str:
    """The method, and which language model it began with, where that is one of ours and not from the usual one."""
    models = re.findall(r"--init-from (\S+)", record["repeat"])
    return record["method"] + (f", from {models[0]}" if models and record["method"] not in BASELINES else "")


def method_of(row: str) -> str:
    return row.split(",")[0]


def title(row: str) -> str:
    method = method_of(row)
    name = f"**ulmpi fit, {method.removeprefix('fit-')} minutes**" if method.startswith("fit-") else TITLES.get(method, method)
    return name + row.removeprefix(method)


def newest(records: list[Record]) -> dict[tuple[str, str], Group]:
    """(task, labels) -> row -> one record a seed, the newest."""
    cells = {(r["task"], r["labels"], row_of(r), r["seed"]): r for r in records}
    groups: dict[tuple[str, str], Group] = defaultdict(lambda: defaultdict(list))
    for (task, labels, row, _), record in sorted(cells.items()):
        groups[task, labels][row].append(record)
    for (task, labels), group in groups.items():
        rows = sorted({record["n"] for own in group.values() for record in own})
        if len(rows) > 1:  # differences are paired by test rows
            sys.exit(f"report.sh: {task} at {labels} labels has results of {' and of '.join(map(str, rows))} test rows; one "
                     "table needs the same for all: leave the others out")
    return groups


def wrong_of(records: list[Record]) -> Wrong:
    return {record["seed"]: unpack(record["wrong"], record["n"]) for record in records}


def per_cent(estimate: Estimate, sign: str = "") -> str:
    return f"{100 * estimate.mean:{sign}.1f} ± {100 * estimate.standard_error:.1f}"


def seconds(records: list[Record], key: str) -> str:
    value = statistics.fmean(record[key] for record in records)
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def calibration(records: list[Record]) -> str:
    errors = [record["calibration_error"] for record in records if "calibration_error" in record]
    return f"{100 * statistics.fmean(errors):.1f}" if errors else ""


def in_order(rows: Any) -> list[str]:
    known = list(TITLES)
    return sorted(rows, key=lambda row: (known.index(method_of(row)) if method_of(row) in known else len(known), row))


def table(group: Group, labels: str) -> list[str]:
    wrong = {method: wrong_of(records) for method, records in group.items()}
    errors = {method: error(own) for method, own in wrong.items()}
    baselines = [method for method in group if method in BASELINES]
    best = min(baselines, key=lambda method: errors[method].mean, default=None)
    lines = ["| classifier | error, % | once | seeds | less the best baseline's | verdict | calibration | seconds | + choice | + shared |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for method in in_order(group):
        records = group[method]
        to = {other: difference(wrong[method], wrong[other], labels != "all") for other in baselines if other != method}
        all_of_them = [one for one in to.values() if one]
        judged = method not in BASELINES and all_of_them
        once = [r["error_unrepeated"] for r in records if r["error_unrepeated"] is not None]
        lines.append("| " + " | ".join([
            title(method), per_cent(errors[method]), f"{100 * statistics.fmean(once):.1f}" if once else "",
            str(len(records)), "(the best)" if method == best else per_cent(to[best], "+") if to.get(best) else "",
            verdict_of_all(all_of_them) if judged else "", calibration(records), seconds(records, "seconds"),
            seconds(records, "tuning_seconds"), seconds(records, "shared_seconds")]) + " |")
    return lines + [""] + comparisons(wrong, labels) + minutes_kept(group)


def comparisons(wrong: dict[str, Wrong], labels: str) -> list[str]:
    """What each part brings: our methods beside the same without it."""
    lines = []
    for model in sorted({row.removeprefix(method_of(row)) for row in wrong}):
        for ours, other in COMPARED:
            if ours + model in wrong and other + model in wrong and \
                    (found := difference(wrong[ours + model], wrong[other + model], labels != "all")):
                lines.append(f"{TITLES[ours].strip('*').removeprefix('ulmpi, ').capitalize()}{model}{',' if model else ''} less "
                             f"{TITLES[other].strip('*')}: {per_cent(found, '+')}, {verdict(found)}.")
    return lines + [""] if lines else []


def minutes_kept(group: Group) -> list[str]:
    """How long fit took beside what it was given."""
    lines = []
    for method in in_order(group):
        if method.startswith("fit-"):
            took = sorted(record["command_seconds"][0] / 60 for record in group[method])
            lines.append(f"Given {title(method).strip('*').removeprefix('ulmpi fit, ')}, fit took {took[0]:.1f} to {took[-1]:.1f}.")
    return lines + [""] if lines else []


def provenance(records: list[Record], group: Group) -> list[str]:
    """How to repeat a group's figures, what was chosen, and on what machine."""
    lines = ["<details><summary>Commands and choices</summary>", "", "```"]
    lines += sorted({record["repeat"] for own in group.values() for record in own})
    lines += ["```", ""]
    for method in in_order(group):
        for record in group[method]:
            same = [r for r in records if row_of(r) == method and
                    all(r[key] == record[key] for key in ("task", "labels", "seed"))]
            again = f"; the test set was read {len(same)} times for this cell" if len(same) > 1 else ""
            lines.append(f"- {method}, seed {record['seed']}: {100 * record['error']:.2f} %, {words(record['options']) or 'no choice'}, "
                         f"commit {record['commit']}, {record['date']}, {record['cores']} cores of {record['cpu']}{again}")
    return lines + ["", "</details>", ""]


def count(labels: str, group: Group) -> str:
    record = next(iter(group.values()))[0]
    return f"{record['rows']:,} labels{' (all)' if labels == 'all' else ''}; {record['n']:,} test rows{', a sample' if record.get('sampled') else ''}, " \
           f"{record['n'] - record['n_unrepeated']} of them repeat a training row"


def by_size(keys: Any, task: str) -> list[str]:
    own = [labels for name, labels in keys if name == task]
    return sorted(own, key=lambda labels: float("inf") if labels == "all" else int(labels))


def markdown(records: list[Record], pictures: dict[str, str]) -> str:
    models = [record for record in records if "bits_per_byte" in record]
    records = [record for record in records if "wrong" in record]
    groups, lines = newest(records), [HEAD]
    for task in sorted({task for task, _ in groups}, key=lambda task: (list(SETS).index(task) if task in SETS else 9, task)):
        lines += [f"## {SETS.get(task, task)}", ""]
        if task in pictures:
            lines += [f"![error over labels]({pictures[task]})", ""]
        for labels in by_size(groups, task):
            group = groups[task, labels]
            lines += [f"### {count(labels, group)}", ""] + table(group, labels) + provenance(records, group)
    return "\n".join(lines + (language_models(models) if models else [])).rstrip() + "\n"


def language_models(records: list[Record]) -> list[str]:
    """Bits a byte of the model to start from, beside those of others of its shape."""
    latest = {(record["model"], record["text"]): record for record in records}
    texts = list(dict.fromkeys(text for _, text in latest))
    lines = ["## The language model to start from", "", "Bits a byte; in brackets the perplexity a word. All models have the "
             "same shape and tokenizer.", "", "| model | " + " | ".join(texts) + " | parameters | seconds of training |",
             "|---" * (len(texts) + 3) + "|"]
    for model in dict.fromkeys(model for model, _ in latest):
        own = [latest.get((model, text)) for text in texts]
        first = next(record for record in own if record)
        lines.append(f"| {model} | " + " | ".join(
            f"{record['bits_per_byte']:.3f} ({record['word_perplexity']:.0f})" if record else "" for record in own) +
            f" | {first['parameters']:,} | {first['training_seconds'] or ''} |")
    return lines + ["", "`scripts/experiments/english.sh --data DIR --held-out FILE`", ""]


def draw_picture(task: str, groups: dict[tuple[str, str], Group], path: Path) -> None:
    import matplotlib
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "ulmpi"  # the same figures give the same file
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    methods = in_order({method for (name, _), group in groups.items() if name == task for method in group} - {"majority"})
    ticks = set()
    for method in methods:
        own = [(group[method][0]["rows"], error(wrong_of(group[method]))) for labels in by_size(groups, task)
               if method in (group := groups[task, labels])]
        ticks |= {rows for rows, _ in own}
        axes.errorbar([rows for rows, _ in own], [100 * e.mean for _, e in own], [100 * e.standard_error for _, e in own],
                      fmt="--" if method in BASELINES else "-", marker="o", markersize=4, capsize=3, linewidth=1.2,
                      label=title(method).strip("*"))
    axes.set_xscale("log")
    axes.set_xticks(sorted(ticks), [f"{rows:,}" for rows in sorted(ticks)])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("labelled rows")
    axes.set_ylabel("test error, %; bar: standard error")
    axes.set_title(SETS.get(task, task))
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="report.sh", description=__doc__)
    parser.add_argument("results", nargs="*", type=Path, help="results.jsonl of tables (default: all of docs/results)")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results.md", metavar="FILE")
    parser.add_argument("--pictures", type=Path, default=ROOT / "docs/images", metavar="DIR", help="for results-TASK.svg")
    options = parser.parse_args(arguments)
    files = options.results or sorted((ROOT / "docs/results").glob("*.jsonl"))
    records = [record for file in files for record in Records(file).all()]
    if not records:
        sys.exit("report.sh: no results yet; scripts/experiments/trec6.sh and its neighbours make some")
    groups, pictures = newest([record for record in records if "wrong" in record]), {}
    options.pictures.mkdir(parents=True, exist_ok=True)
    for task in {task for task, _ in groups if len(by_size(groups, task)) > 1}:
        path = options.pictures / f"results-{task.replace('_', '-')}.svg"
        draw_picture(task, groups, path)
        pictures[task] = os.path.relpath(path, options.output.parent)
    options.output.write_text(markdown(records, pictures), encoding="utf-8")
    print(options.output)


if __name__ == "__main__":
    main(sys.argv[1:])
