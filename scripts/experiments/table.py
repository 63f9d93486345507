"""The cells of one table: (task, labels, seed, method), each trained on its rows, chosen by validation, tested once."""

import argparse
import fnmatch
import os
import shlex
import shutil
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from baselines import BASELINES
from cells import (ROOT, Bench, Cell, CommandFailed, Method, Records, Shared, commit, fingerprint, machine, pack, portable,
                   words)
from ensembles import Distilled, Ensemble
from labelled import Row, draw, folds, read_rows, repeated, sample, sha256, write_rows
from other_programs import FastaiUlmfit
from ours import RECIPES, Domain, Fit, Ours, Program, WithPseudoLabels, WithWords
from vocabularies import OwnVocabulary

# The tables: for each number of labels, so many seeds.
TABLES = {
    "trec6": {"100": 3, "500": 3, "all": 5},
    "sst2": {"100": 3, "500": 3, "all": 3},
    "ag_news": {"100": 3, "1000": 3, "all": 3},
    "imdb": {"100": 3, "500": 3, "2000": 3, "all": 1},
}
NEW_SET = {"500": 3}
TEST_ROWS = {"imdb": 5000}  # a sample: a network needs ten minutes for all of IMDb's
BY_NAME_ALONE = ("transferred-vocabulary", "random-vocabulary", "ensemble", "distilled", "pseudo-labels")


@dataclass(frozen=True)
class Task:
    """The test file is opened by `test` alone."""
    name: str
    train_file: Path
    test_file: Path
    test_rows: int = 0  # a sample of so many; 0: all

    @cached_property
    def train(self) -> list[Row]:
        return read_rows(self.train_file)

    @cached_property
    def all_of_test(self) -> list[Row]:
        return read_rows(self.test_file)

    @property
    def sampled(self) -> bool:
        return 0 < self.test_rows < len(self.all_of_test)

    @cached_property
    def test(self) -> list[Row]:
        return sample(self.all_of_test, self.test_rows) if self.sampled else self.all_of_test

    def test_part(self, work: Path) -> Path:
        """A file of the test rows that are used."""
        if not self.sampled:
            return self.test_file
        part = work / f"{self.name}-test-{self.test_rows}-{sha256(self.test_file)[:16]}.tsv"
        if not part.exists():
            write_rows(part, self.test)
        return part

    def marks(self) -> dict[str, Any]:
        """What the figures depend on of the task."""
        whole = {"train": sha256(self.train_file), "test": sha256(self.test_file)}
        return whole | ({"test_rows": self.test_rows} if self.sampled else {})

    def rows(self, cell: Cell) -> list[Row]:
        return self.train if cell.labels == "all" else draw(self.train, int(cell.labels), cell.seed)


def methods(task: Task, program: Program, options: argparse.Namespace) -> dict[str, Method]:
    """By name: the baselines, our stages on a task of these tables, and what minutes are given for."""
    domain, known = Domain(program, task.name, task.train_file), dict(BASELINES)
    if options.fastai_minutes:
        known["fastai-ulmfit"] = FastaiUlmfit(tuple(options.fastai_text), tuple(options.fastai_minutes), options.ranks,
                                              program.work, domain, options.fastai_venv)
    if task.name in TABLES:
        known |= {name: Ours(program, domain, recipe) for name, recipe in RECIPES.items()}
        known["with-words"] = WithWords(program, domain)
        known["pseudo-labels"] = WithPseudoLabels(program, domain)
    # Those that are asked for by name alone.
    for rows in ("transferred", "random"):
        known[f"{rows}-vocabulary"] = Ours(program, OwnVocabulary(program, task.name, task.train_file, rows),
                                           RECIPES["three-stages"])
    known |= {"ensemble": Ensemble(program, domain), "distilled": Distilled(program, domain)}
    asked = {pattern.split("/")[-1] for pattern in options.only or []}
    known = {name: method for name, method in known.items() if name not in BY_NAME_ALONE or name in asked}
    return known | {f"fit-{m:g}": Fit(program, m, tuple(options.text)) for m in options.minutes}


def cells_of(task: Task, known: dict[str, Method], options: argparse.Namespace) -> list[Cell]:
    seeds = TABLES.get(task.name, NEW_SET)
    found = []
    for labels in options.labels or seeds:
        for seed in range(options.seeds or seeds.get(labels, 3)):
            for name, method in known.items():
                cell = Cell(task.name, labels, seed, name)
                wanted = not options.only or any(fnmatch.fnmatchcase(cell.name if "/" in pattern else name, pattern)
                                                 for pattern in options.only)
                if wanted and not (labels == "all" and seed > 0 and method.deterministic):
                    found.append(cell)
    return found


@dataclass(frozen=True)
class Worker:
    """Works at cells, one after the other. What is finished stands in two files: choices of validation, and results."""
    task: Task
    work: Path
    repeat: str  # the command that makes this table, without which cells
    names: dict[str, str] = field(default_factory=dict)  # in recorded commands: of this machine's paths

    def folder(self, cell: Cell, part: str) -> Path:
        return self.work / "cells" / cell.name.replace("/", "-") / part

    def empty_bench(self, cell: Cell, part: str, test: Path | None = None) -> Bench:
        shutil.rmtree(self.folder(cell, part), ignore_errors=True)
        return Bench(self.folder(cell, part), cell.seed, test)

    def begun_bench(self, cell: Cell, part: str, mark: str, test: Path | None = None) -> Bench:
        """As it was left, if it was left with this mark."""
        begun = self.folder(cell, part) / f"begun-{mark}"
        bench = Bench(begun.parent, cell.seed, test) if begun.exists() else self.empty_bench(cell, part, test)
        begun.parent.mkdir(parents=True, exist_ok=True)
        begun.touch()
        return bench

    def definition(self, cell: Cell, method: Method) -> dict[str, Any]:
        return method.definition() | method.of_rows(len(self.task.rows(cell)))

    def tune(self, cell: Cell, method: Method) -> dict[str, Any]:
        """The choice among the method's candidates, by the errors on rows that they were not trained on."""
        records = Records(self.work / "tuned.jsonl")
        mark = fingerprint(cell, self.definition(cell, method) | {"train": sha256(self.task.train_file)})
        if done := records.find(mark):
            return done
        rows, started = self.task.rows(cell), time.time()
        candidates = method.candidates(len(rows))
        wrong: list[list[bool]] = [[] for _ in candidates]
        pairs = folds(rows)[:method.most_folds] if len(candidates) > 1 else []
        for fold, (train, valid) in enumerate(pairs):
            for place, options in enumerate(candidates):
                bench = self.empty_bench(cell, f"fold-{fold}-candidate-{place}")
                said = method.predict(options, train, [text for _, text in valid], bench)
                wrong[place] += which_wrong(said, valid)
                shutil.rmtree(bench.folder, ignore_errors=True)
        errors = [sum(own) for own in wrong]
        record = {**asdict(cell), "fingerprint": mark, "options": candidates[errors.index(min(errors))],
                  "validated": len(wrong[0]), "seconds": round(time.time() - started, 1), "commit": commit(),
                  "candidates": [{"options": options, "error": sum(own) / len(own), "wrong": pack(own)}
                                 for options, own in zip(candidates, wrong) if own]}
        records.append(record)
        return record

    def report(self, cell: Cell, method: Method, shared: Shared) -> dict[str, Any] | None:
        """The cell's line of results, from a model trained on all its rows; nothing where that line stands already."""
        records = Records(self.work / "results.jsonl")
        mark = fingerprint(cell, self.definition(cell, method) | self.task.marks())
        if records.find(mark):
            return None
        chosen = self.tune(cell, method)
        rows, test = self.task.rows(cell), self.task.test
        test_part = self.task.test_part(self.work)
        bench = (self.begun_bench(cell, "report", mark, test_part) if method.goes_on else
                 self.empty_bench(cell, "report", test_part))
        parts, started, cpu_started = Records(bench.folder / "parts.jsonl"), time.time(), sum(os.times()[:4])
        try:
            said = method.predict(chosen["options"], rows, [text for _, text in test], bench)
        finally:
            parts.append({"seconds": time.time() - started, "cpu": sum(os.times()[:4]) - cpu_started,
                          "commands": bench.commands, "command_seconds": bench.seconds})
        made = parts.all()
        commands = shared.commands + [command for part in made for command in part["commands"]]
        seconds, cpu = (sum(part[name] for part in made) for name in ("seconds", "cpu"))
        wrong = which_wrong(said, test)
        calibration = {"calibration_error": calibration_error(bench.sure, wrong)} if bench.sure else {}
        twice = set(repeated(self.task.train, test))
        once = [one for number, one in enumerate(wrong) if number not in twice]
        record = {
            "task": cell.task, "labels": cell.labels, "seed": cell.seed, "method": cell.method, "rows": len(rows),
            "n": len(test), **({"sampled": True} if self.task.sampled else {}), "error": sum(wrong) / len(test),
            "n_unrepeated": len(once), "error_unrepeated": sum(once) / len(once) if once else None,
            "validation_error": min((tried["error"] for tried in chosen["candidates"]), default=None),
            "seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), "tuning_seconds": chosen["seconds"], **calibration,
            "shared_seconds": round(shared.seconds, 1), "options": chosen["options"],
            "commands": [portable(command, {str(self.work): "WORK"} | self.names) for command in commands],
            "command_seconds": [seconds for part in made for seconds in part["command_seconds"]],
            "repeat": f"{self.repeat} --labels {cell.labels} --only {cell.method}", **machine(), "commit": commit(),
            "date": time.strftime("%Y-%m-%d"), "fingerprint": mark, "wrong": pack(wrong)}
        records.append(record)
        shutil.rmtree(bench.folder.parent, ignore_errors=True)
        return record


def which_wrong(said: list[str], rows: list[Row]) -> list[bool]:
    return [own != label for own, (label, _) in zip(said, rows, strict=True)]


def calibration_error(sure: list[float], wrong: list[bool]) -> float:
    """Expected calibration error of 15 bins of equal width: sum over bins of |answers that are right - probabilities|,
    divided by the rows."""
    gaps = [0.0] * 15
    for probability, one in zip(sure, wrong, strict=True):
        gaps[min(14, int(15 * probability))] += (not one) - probability
    return sum(map(abs, gaps)) / len(wrong)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="table.sh", description=__doc__, epilog="A finished cell is not run again, one "
                                     "that was interrupted goes on or is started again: give the same command as often as you like.")
    which = parser.add_argument_group("which cells")
    which.add_argument("--task", choices=TABLES, help="a task of --data")
    which.add_argument("--data", type=Path, metavar="DIR", help="holds TASK/{train,test}.tsv.gz")
    which.add_argument("--train", type=Path, metavar="FILE", help="instead of a task: a set of your own, label<TAB>text")
    which.add_argument("--test", type=Path, metavar="FILE")
    which.add_argument("--labels", nargs="+", metavar="N", help="labelled rows to draw, or all (default: the table's)")
    which.add_argument("--test-rows", type=int, metavar="N", help="judge by a sample of so many test rows, 0 by all "
                       f"(default: {', '.join(f'{rows} of {name}' for name, rows in TEST_ROWS.items())}, otherwise all)")
    which.add_argument("--seeds", type=int, metavar="N", help="draws and trainings, from seed 0 on (default: the table's)")
    which.add_argument("--only", nargs="+", metavar="CELLS", help="methods, or patterns of TASK/LABELS/SEED/METHOD")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--tune", action="store_true", help="choose by validation alone; the test file is never opened")
    how.add_argument("--report", action="store_true", help="train on all rows and test, once a cell (default; tunes before)")
    ours = parser.add_argument_group("ulmpi")
    ours.add_argument("--init-from", default="english", metavar="MODEL", help="language model to start from (default english)")
    ours.add_argument("--ulmpi", default=str(ROOT / "build/release/ulmpi"), metavar="FILE", help="the program")
    ours.add_argument("--ranks", type=int, default=2, metavar="N", help="MPI ranks (default 2)")
    ours.add_argument("--minutes", type=float, nargs="+", default=[], metavar="M",
                      help="rows for fit in so many minutes (default: none for a task, 20 for a set of your own)")
    ours.add_argument("--text", nargs="+", default=[], metavar="FILE", help="for fit: text of the domain")
    peer = parser.add_argument_group("fastai's ULMFiT")
    peer.add_argument("--fastai-minutes", type=float, nargs=3, metavar="M", help="of its three stages (default: left out)")
    peer.add_argument("--fastai-text", type=Path, nargs="+", default=[], metavar="FILE", help="the text of its first stage")
    peer.add_argument("--fastai-venv", type=Path, metavar="DIR", help="an environment that has it (default: one is made)")
    parser.add_argument("--work", type=Path, default=ROOT / "runs/experiments", metavar="DIR",
                        help="results.jsonl, tuned.jsonl and work in progress (default runs/experiments)")
    options = parser.parse_args(arguments)
    if bool(options.task) == bool(options.train) or bool(options.task) != bool(options.data) or \
            bool(options.train) != bool(options.test):
        parser.error("give --task with --data, or --train with --test")
    if bool(options.fastai_minutes) != bool(options.fastai_text):
        parser.error("give --fastai-minutes with --fastai-text")
    if options.train and not options.minutes:
        options.minutes = [20.0]
    if options.test_rows is not None and options.test_rows < 0:
        parser.error(f"--test-rows {options.test_rows}: less than none")
    for labels in options.labels or []:
        if labels != "all" and not (labels.isdecimal() and int(labels) > 0):
            parser.error(f"--labels {labels}: neither a number nor all")
    return options


def task_of(options: argparse.Namespace) -> tuple[Task, str]:
    """The task, and the command of its table."""
    if options.task:
        folder = options.data / options.task
        usual = TEST_ROWS.get(options.task, 0)
        rows = usual if options.test_rows is None else options.test_rows
        more = "" if rows == usual else f" --test-rows {rows}"
        return (Task(options.task, folder / "train.tsv.gz", folder / "test.tsv.gz", rows),
                f"scripts/experiments/{options.task}.sh --data DIR{more}")
    name = options.train.resolve().parent.name + "-" + options.train.name.split(".")[0]
    rows = options.test_rows or 0
    more = f" --test-rows {rows}" if rows else ""
    return Task(name, options.train, options.test, rows), f"scripts/experiments/new_set.sh TRAIN TEST{more}"


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    commit()  # that of the code that runs, whatever happens to the tree meanwhile
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    task, repeat = task_of(options)
    work = options.work.resolve()
    program = Program(os.path.abspath(options.ulmpi), options.init_from, options.ranks, work)
    known = methods(task, program, options)
    try:
        cells = cells_of(task, known, options)
        for name in {cell.method for cell in cells}:
            known[name].definition()  # a model that is missing is found before work starts
    except (CommandFailed, OSError, ValueError) as problem:
        print(f"table.sh: {problem}", file=sys.stderr)
        return 2
    if not cells:
        print(f"table.sh: --only {shlex.join(options.only)} names no cell; methods: {', '.join(known)}", file=sys.stderr)
        return 2
    names = {program.executable: "ulmpi", str(task.test_file): "TEST"}
    if options.minutes:
        repeat += " --minutes " + " ".join(f"{minutes:g}" for minutes in options.minutes)
    if options.init_from != "english":
        if os.path.exists(options.init_from):
            names[options.init_from] = "MODEL"
        repeat += f" --init-from {names.get(options.init_from, options.init_from)}"
    worker, failed = Worker(task, work, repeat, names), 0
    for number, cell in enumerate(cells, start=1):
        method = known[cell.method]
        before = f"[{number}/{len(cells)}] {cell.name}"
        try:
            shared = method.prepare()
            if options.tune:
                print(before, describe_choice(worker.tune(cell, method)), flush=True)
            elif record := worker.report(cell, method, shared):
                print(f"{before} error {100 * record['error']:.2f} % in {record['seconds']} s", flush=True)
            else:
                print(before, "is finished", flush=True)
        except CommandFailed as problem:  # the others may still go well
            print(f"{before} failed: {problem}", file=sys.stderr, flush=True)
            failed += 1
    return 1 if failed else 0


def describe_choice(record: dict[str, Any]) -> str:
    tried = [f"\n    {100 * one['error']:6.2f} %  {words(one['options'])}" for one in record["candidates"]]
    return "".join([f"chose {words(record['options']) or 'nothing: there is no choice'}"] + tried)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
