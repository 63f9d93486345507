"""The harness of the experiments: the draw, the folds, the statistics, cells that are finished once. Oracles:
figures worked out by hand, plain loops over the definitions, properties of every row. experiments_test.py SCRIPTS_FOLDER"""

import contextlib
import gzip
import io
import itertools
import json
import math
import random
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

scripts = Path(sys.argv.pop(1) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "scripts").resolve()
sys.path.insert(0, str(scripts / "experiments"))
sys.dont_write_bytecode = True
import cells  # noqa: E402
import compare  # noqa: E402
import labelled  # noqa: E402
import table  # noqa: E402


def rows_of(counts):
    """So many rows of each class, the classes mixed."""
    draw = random.Random(5)
    rows = [(label, f"{label} number {i} {draw.random():.6f}") for label, count in counts.items() for i in range(count)]
    draw.shuffle(rows)
    return rows


class Draw(unittest.TestCase):
    def test_the_rows_of_the_linear_baselines(self):
        """Which rows the published comparison of linear models draws: each class's rows in the file's order, shuffled by
        one random.Random(seed) in the alphabet's order of classes, then dealt in turn. Written out by hand."""
        rows = [(label, str(number)) for number, label in enumerate("abbacbabca")]
        generator = random.Random(3)
        a, b, c = [0, 3, 6, 9], [1, 2, 5, 7], [4, 8]
        for numbers in (a, b, c):
            generator.shuffle(numbers)
        dealt = [a[0], b[0], c[0], a[1], b[1], c[1], a[2], b[2], a[3], b[3]]
        for count in range(1, 10):
            self.assertEqual([int(text) for _, text in labelled.draw(rows, count, 3)], dealt[:count])
        self.assertEqual(labelled.draw(rows, 10, 3), rows)
        self.assertEqual(labelled.draw(rows, 99, 3), rows)

    def test_as_many_of_each_class_as_there_are(self):
        rows = rows_of({"rare": 3, "common": 200, "middling": 40})
        for count, expected in ((9, (3, 3, 3)), (30, (3, 14, 13)), (120, (3, 77, 40))):
            drawn = labelled.draw(rows, count, 0)
            self.assertEqual(tuple(sum(own == label for own, _ in drawn) for label in ("rare", "common", "middling")), expected)
            self.assertEqual(len(set(drawn)), count)
        self.assertNotEqual(labelled.draw(rows, 30, 0), labelled.draw(rows, 30, 1))


class Folds(unittest.TestCase):
    def test_few_rows_are_dealt_to_stratified_folds(self):
        rows = rows_of({"a": 60, "b": 33, "c": 7})
        folds = labelled.folds(rows)
        self.assertEqual(len(folds), labelled.FOLDS)
        self.assertEqual(sorted(row for _, valid in folds for row in valid), sorted(rows))
        for train, valid in folds:
            self.assertEqual(sorted(train + valid), sorted(rows))
            for label, count in {"a": 60, "b": 33, "c": 7}.items():
                share = sum(own == label for own, _ in valid)
                self.assertTrue(count // labelled.FOLDS <= share <= -(-count // labelled.FOLDS))

    def test_equal_texts_are_on_one_side(self):
        for rows in ([(label, f"{'Sing' if label == 'a' else 'sing '} it, {i % 40}!") for i in range(90) for label in "ab"],
                     [("ab"[i % 2], f"Sing {'it' if i % 3 else 'IT!'} {i % 700}") for i in range(2100)]):
            for train, valid in labelled.folds(rows):
                known = {labelled.letters_and_digits(text) for _, text in train}
                self.assertFalse(known & {labelled.letters_and_digits(text) for _, text in valid})

    def test_many_rows_are_split_once(self):
        ((train, valid),) = labelled.folds(rows := rows_of({"a": 1500, "b": 500}))
        self.assertEqual(sorted(train + valid), sorted(rows))
        self.assertTrue(150 <= len(valid) <= 250)  # a tenth: 200 with a deviation of 13

    def test_a_row_alone(self):
        self.assertEqual(labelled.folds([("a", "x")]), [])
        for train, valid in labelled.folds(rows_of({"a": 2, "b": 1})):
            self.assertTrue(train and valid)

    def test_rows_that_repeat(self):
        train, test = [("a", "Who's there?"), ("b", "¿Où été?")], [("a", "whos there"), ("a", "who"), ("c", "où, ÉTÉ")]
        self.assertEqual(labelled.repeated(train, test), [0, 2])


def plain_difference(ours, theirs):
    """The definition, word by word, in plain loops: drawn rows."""
    seeds, rows = list(ours), len(ours[0])
    d = [sum(ours[s][i] - theirs[s][i] for s in seeds) / len(seeds) for i in range(rows)]
    mean = sum(d) / rows
    over_rows = sum((x - mean) ** 2 for x in d) / (rows - 1)
    by_seed = [sum(ours[s][i] - theirs[s][i] for i in range(rows)) / rows for s in seeds]
    between = sum((x - mean) ** 2 for x in by_seed) / (len(seeds) - 1)
    return mean, math.sqrt(over_rows / rows + between / len(seeds))


class Statistics(unittest.TestCase):
    def test_by_hand(self):
        ours, theirs = {0: [0, 0, 0, 1], 1: [0, 0, 1, 1]}, {0: [1, 0, 1, 1], 1: [1, 1, 0, 1]}
        # d = -1, -1/2, 0, 0, mean -3/8, squares about it 17/64 + ... = (25 + 1 + 9 + 9) / 64; D = -1/2, -1/4.
        found = compare.difference(ours, theirs, drawn=True)
        self.assertAlmostEqual(found.mean, -3 / 8)
        self.assertAlmostEqual(found.standard_error, math.sqrt(44 / 64 / 3 / 4 + 1 / 32 / 2))

    def test_against_the_definition(self):
        draw = random.Random(1)
        for seeds, rows in itertools.product((2, 3, 5), (2, 7, 200)):
            ours, theirs = ({s: [int(draw.random() < p) for _ in range(rows)] for s in range(seeds)} for p in (0.2, 0.4))
            found = compare.difference(ours, theirs, drawn=True)
            mean, standard_error = plain_difference(ours, theirs)
            self.assertAlmostEqual(found.mean, mean, places=12)
            self.assertAlmostEqual(found.standard_error, standard_error, places=12)
            own = compare.error(ours)  # the difference from one who is never wrong
            mean, standard_error = plain_difference(ours, {s: [0] * rows for s in range(seeds)})
            self.assertAlmostEqual(own.mean, mean, places=12)
            self.assertAlmostEqual(own.standard_error, standard_error, places=12)

    def test_seeds_without_partners(self):
        ours, theirs = {0: [1, 0, 0], 1: [1, 1, 0]}, {0: [1, 1, 0]}
        self.assertEqual(compare.difference(ours, theirs, drawn=True).mean, -1 / 3)  # of the draw in common alone
        self.assertIsNone(compare.difference({1: [0]}, {0: [0]}, drawn=True))
        found = compare.difference(ours, theirs, drawn=False)  # d = 0, -1/2, 0; our errors 1/3 and 2/3
        self.assertAlmostEqual(found.mean, -1 / 6)
        self.assertAlmostEqual(found.standard_error, math.sqrt((1 / 36 + 1 / 9 + 1 / 36) / 2 / 3 + 1 / 18 / 2))

    def test_two_standard_errors_decide(self):
        for mean, said in ((-2.1, "below"), (-2.0, "level"), (0, "level"), (2.0, "level"), (2.1, "above")):
            self.assertEqual(compare.verdict(compare.Estimate(mean, 1.0)), said)
        below, level, above = (compare.Estimate(mean, 1.0) for mean in (-3, 0, 3))
        self.assertEqual(compare.verdict_of_all([below, below]), "below")
        self.assertEqual(compare.verdict_of_all([below, level]), "level")
        self.assertEqual(compare.verdict_of_all([below, above, level]), "above")

    def test_calibration(self):
        """By hand: of ten answers that are 0.9 sure eight are right; of four that are 0.54 and 0.55 sure all."""
        sure = [0.9] * 10 + [0.54, 0.54, 0.55, 0.55]
        wrong = [True, True] + [False] * 12
        self.assertAlmostEqual(table.calibration_error(sure, wrong), (10 * 0.1 + 2 * 0.46 + 2 * 0.45) / 14)
        self.assertEqual(table.calibration_error([1.0, 1.0], [False, False]), 0)

    def test_a_row_is_a_bit(self):
        draw = random.Random(2)
        for rows in (1, 7, 8, 9, 1000, 25000):
            wrong = [draw.random() < 0.2 for _ in range(rows)]
            packed = cells.pack(wrong)
            self.assertEqual(cells.unpack(packed, rows), [int(one) for one in wrong])
        self.assertLess(len(packed), 3500)


class Shout(cells.Method):
    """Says "loud" of texts with so many exclamation marks; counts its work and can be interrupted in it."""

    def __init__(self, stop_after=None):
        self.trained, self.stop_after, self.marks = [], stop_after, [1, 2, 3]

    def definition(self):
        return {"marks": self.marks}

    def candidates(self, rows):
        return [{"marks": marks} for marks in self.marks]

    def predict(self, options, train, texts, bench):
        bench.folder.mkdir(parents=True, exist_ok=True)
        (bench.folder / "half").write_text("not whole yet")
        if self.stop_after is not None and len(self.trained) >= self.stop_after:
            raise KeyboardInterrupt
        self.trained.append((options["marks"], len(train), len(texts)))
        bench.commands.append(f"shout --mouth mouth {bench.folder} mouth/teeth mouthful")
        return ["loud" if text.count("!") >= options["marks"] else "calm" for text in texts]


class ToySet(unittest.TestCase):
    """A set whose classes differ by their exclamation marks, and a folder to work in."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        marks = {"calm": "!", "loud": "!!"}
        rows = [(label, f"say {i} {label[0]}{marks[label]}") for i in range(30) for label in marks]
        self.train, self.test = self.folder / "d/toy/train.tsv", self.folder / "d/toy/test.tsv"
        labelled.write_rows(self.train, rows)
        labelled.write_rows(self.test, rows[:3] + [("loud", "this one is not!"), ("calm", "never said")])
        self.work = self.folder / "work"

    def lines(self, name="results.jsonl"):
        return [json.loads(line) for line in (self.work / name).read_text().splitlines()]


class Cells(ToySet):
    def worker(self):
        return table.Worker(table.Task("toy", self.train, self.test), self.work, "toy.sh --data DIR", {"mouth": "MOUTH"})

    def cell(self, seed=0, labels="20"):
        return cells.Cell("toy", labels, seed, "shout")

    def test_a_cell_is_chosen_by_validation_and_tested_once(self):
        method = Shout()
        record = self.worker().report(self.cell(), method, shared=cells.Shared(2.5, ["scream"]))
        self.assertEqual(record["options"], {"marks": 2})
        self.assertEqual(method.trained, [(marks, 16, 4) for _ in range(5) for marks in (1, 2, 3)] + [(2, 20, 5)])
        self.assertEqual((record["rows"], record["n"], record["error"]), (20, 5, 0.2))
        self.assertEqual((record["n_unrepeated"], record["error_unrepeated"]), (2, 0.5))
        self.assertEqual(cells.unpack(record["wrong"], 5), [0, 0, 0, 1, 0])
        self.assertEqual((record["validation_error"], record["shared_seconds"]), (0, 2.5))
        self.assertEqual(record["repeat"], "toy.sh --data DIR --labels 20 --only shout")
        self.assertEqual(record["commands"], ["scream", "shout --mouth MOUTH WORK/cells/toy-20-0-shout/report MOUTH/teeth mouthful"])
        self.assertEqual(self.lines(), [record])
        self.assertEqual(list((self.work / "cells").iterdir()), [])
        self.assertIsNone(self.worker().report(self.cell(), again := Shout(), shared=cells.Shared(2.5, ["scream"])))
        self.assertEqual(again.trained, [])
        self.assertEqual(len(self.lines()), 1)

    def test_a_sample_of_the_test_rows(self):
        sampled = table.Worker(table.Task("toy", self.train, self.test, 3), self.work, "toy.sh --data DIR", {})
        record = sampled.report(self.cell(), Shout(), shared=cells.Shared())
        self.assertEqual((record["n"], record["sampled"]), (3, True))
        part = labelled.read_rows(sampled.task.test_part(self.work))
        self.assertEqual([row for row in labelled.read_rows(self.test) if row in part], part)  # in their order
        rows = labelled.read_rows(self.train)
        self.assertEqual(labelled.sample(rows, 5), labelled.sample(labelled.sample(rows, 9), 5))
        self.assertEqual(sorted(labelled.sample(rows[::-1], 9)), sorted(labelled.sample(rows, 9)))
        self.assertNotEqual(labelled.sample(rows, 9), rows[:9])
        self.assertEqual(table.Task("toy", self.train, self.test, 5).sampled, False)  # there are no more
        # All rows are another figure.
        whole = self.worker().report(self.cell(), Shout(), shared=cells.Shared())
        self.assertEqual((whole["n"], whole.get("sampled")), (5, None))
        self.assertNotEqual(whole["fingerprint"], record["fingerprint"])

    def test_choosing_never_opens_the_test_file(self):
        self.test.unlink()
        choice = self.worker().tune(self.cell(), method := Shout())
        self.assertEqual(choice["options"], {"marks": 2})
        self.assertEqual([tried["error"] for tried in choice["candidates"]], [0.5, 0, 0.5])
        self.assertEqual(len(method.trained), 15)
        self.worker().tune(self.cell(), method)
        self.assertEqual(len(method.trained), 15)
        self.assertFalse((self.work / "results.jsonl").exists())
        with self.assertRaises(FileNotFoundError):
            self.worker().report(self.cell(), method, shared=cells.Shared())

    def test_a_costly_method_is_tried_on_fewer_folds(self):
        method = Shout()
        method.most_folds = 2
        self.assertEqual(self.worker().tune(self.cell(), method)["validated"], 8)
        self.assertEqual(method.trained, [(marks, 16, 4) for _ in range(2) for marks in (1, 2, 3)])

    def test_what_was_interrupted_starts_again_and_what_is_finished_does_not(self):
        whole = [self.worker().report(self.cell(seed), Shout(), shared=cells.Shared()) for seed in range(3)]
        shutil.rmtree(self.work)
        ended = 0
        for stop_after in (0, 7, 15, 0, 3, 15, 15, 99):  # in the middle of choosing, and before the reported model
            with contextlib.suppress(KeyboardInterrupt):
                method = Shout(stop_after)
                for seed in range(3):
                    self.worker().report(self.cell(seed), method, shared=cells.Shared())
                ended += 1
            for line in self.lines() if (self.work / "results.jsonl").exists() else []:
                self.assertEqual(line["n"], 5)
        self.assertEqual(ended, 1)
        kept = [{key: value for key, value in line.items() if "seconds" not in key} for line in self.lines()]
        self.assertEqual(kept, [{key: value for key, value in line.items() if "seconds" not in key} for line in whole])
        self.assertEqual(list((self.work / "cells").iterdir()), [])

    def test_a_method_that_goes_on_finds_what_it_left(self):
        class Patient(Shout):
            goes_on = True

            found = False

            def predict(self, options, train, texts, bench):
                self.found = (bench.folder / "half").exists()
                return super().predict(options, train, texts, bench)

        def report(marks, stop_after=None):
            method = Patient(stop_after)
            method.marks = marks
            record = None
            with contextlib.suppress(KeyboardInterrupt):
                record = self.worker().report(self.cell(), method, shared=cells.Shared())
            return method.found, record

        self.assertEqual(report([2], stop_after=0), (False, None))
        self.assertEqual(report([2], stop_after=0), (True, None))
        self.assertEqual(report([3], stop_after=0), (False, None))  # another cell begins on an empty bench
        self.assertEqual(report([3], stop_after=0), (True, None))
        parts = cells.Records(self.work / "cells" / "toy-20-0-shout" / "report" / "parts.jsonl")
        self.assertEqual(len(parts.all()), 2)
        parts.append({"seconds": 1000, "cpu": 0, "commands": ["cough"], "command_seconds": [1]})
        found, record = report([3])
        self.assertTrue(found)
        self.assertGreaterEqual(record["seconds"], 1000)
        self.assertEqual([command.split()[0] for command in record["commands"]], ["cough", "shout"])
        self.assertEqual(list((self.work / "cells").iterdir()), [])

    def test_a_line_that_was_cut_off_is_written_again(self):
        for seed in range(2):
            self.worker().report(self.cell(seed), Shout(), shared=cells.Shared())
        results = self.work / "results.jsonl"
        first, second = results.read_text().splitlines()
        for size in (1, len(second) - 1, len(second)):  # the last: all but its line feed
            results.write_text(first + "\n" + second[:size])
            self.assertIsNone(self.worker().report(self.cell(0), Shout(), shared=cells.Shared()))
            self.assertIsNotNone(self.worker().report(self.cell(1), Shout(), shared=cells.Shared()))
            self.assertEqual([line["seed"] for line in self.lines()], [0, 1])

    def test_other_options_or_rows_are_another_cell(self):
        self.worker().report(self.cell(), Shout(), shared=cells.Shared())
        method = Shout()
        method.marks = [2]  # one candidate: nothing to choose
        self.worker().report(self.cell(), method, shared=cells.Shared())
        self.assertEqual(method.trained, [(2, 20, 5)])
        self.assertIsNone(self.lines()[-1]["validation_error"])
        with open(self.train, "a") as file:
            file.write("calm\tone more\n")
        self.assertIsNotNone(self.worker().report(self.cell(), method, shared=cells.Shared()))
        with open(self.test, "a") as file:
            file.write("calm\tone more\n")
        self.assertIsNotNone(self.worker().report(self.cell(), method, shared=cells.Shared()))
        self.assertEqual([line["n"] for line in self.lines()], [5, 5, 5, 6])

    def test_all_rows(self):
        record = self.worker().report(self.cell(labels="all"), Shout(), shared=cells.Shared())
        self.assertEqual((record["rows"], record["labels"]), (60, "all"))

    def test_a_command_that_fails_says_so(self):
        bench = cells.Bench(self.work / "bench", seed=0)
        self.assertEqual(bench.run(["echo", "a b", 3]), "a b 3\n")
        with self.assertRaisesRegex(cells.CommandFailed, r"(?s)sh -c.*status 7.*the reason"):
            bench.run(["sh", "-c", "echo the reason >&2; exit 7"])
        self.assertEqual(bench.commands[0], "echo 'a b' 3")


class Command(ToySet):
    """The command of a table, as far as it goes without what the linear models need."""

    def run_table(self, *arguments):
        data = self.folder / "data/trec6"
        if not data.exists():
            data.mkdir(parents=True)
            for file in self.train, self.test:
                with gzip.open(data / f"{file.name}.gz", "wb") as out:
                    out.write(file.read_bytes())
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                status = table.main([*arguments, "--data", str(self.folder / "data"), "--work", str(self.work)])
            except SystemExit as end:
                status = end.code
        return status, output.getvalue(), errors.getvalue()

    def test_a_table(self):
        status, output, _ = self.run_table("--task", "trec6", "--only", "majority")
        self.assertEqual(status, 0)
        self.assertEqual([(line["labels"], line["seed"], line["error"]) for line in self.lines()],
                         [(labels, seed, 0.4) for labels, seeds in (("100", 3), ("500", 3), ("all", 1)) for seed in range(seeds)])
        self.assertEqual(output.count(" error 40.00 %"), 7)
        status, output, _ = self.run_table("--task", "trec6", "--only", "majority")
        self.assertEqual((status, output.count("is finished"), len(self.lines())), (0, 7, 7))

    def test_patterns(self):
        self.run_table("--task", "trec6", "--only", "trec6/*/1/maj*", "--labels", "10", "all")
        self.assertEqual([(line["labels"], line["seed"]) for line in self.lines()], [("10", 1)])

    def test_what_cannot_be_is_said_before_work_starts(self):
        for arguments, said in ((["--task", "trec6", "--only", "majorty"], "names no cell"),
                                (["--task", "trec6", "--labels", "some"], "neither a number nor all"),
                                (["--task", "trec6", "--ulmpi", "nowhere/ulmpi"], "nowhere/ulmpi"),
                                (["--task", "trec6", "--minutes", "5", "--only", "fit-6"], "fit-5")):
            status, _, errors = self.run_table(*arguments)
            self.assertEqual(status, 2)
            self.assertIn(said, errors)
        self.assertFalse(self.work.exists())


if __name__ == "__main__":
    unittest.main()
