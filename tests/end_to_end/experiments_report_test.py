"""What the experiments report: tables with verdicts, and runs of letters that sets share. Oracles: figures worked out by
hand, plain loops over the definitions. experiments_report_test.py SCRIPTS_FOLDER"""

import random
import sys
import unittest
from pathlib import Path

scripts = Path(sys.argv.pop(1) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "scripts").resolve()
sys.path.insert(0, str(scripts / "experiments"))
sys.dont_write_bytecode = True
import cells  # noqa: E402
import compare  # noqa: E402
import labelled  # noqa: E402
import overlaps  # noqa: E402
import report  # noqa: E402


def record(method, labels, seed, wrong, task="trec6", **more):
    return {"task": task, "labels": labels, "seed": seed, "method": method, "rows": 100 if labels == "100" else 5000,
            "n": len(wrong), "error": sum(wrong) / len(wrong), "n_unrepeated": len(wrong) - 1,
            "error_unrepeated": sum(wrong[1:]) / (len(wrong) - 1), "seconds": 3.0, "tuning_seconds": 1.0,
            "shared_seconds": 0, "options": {}, "repeat": f"trec6.sh --only {method}", "commit": "abc", "cpu": "A CPU",
            "cores": 2, "date": "2025-01-31", "wrong": cells.pack(wrong)} | more


class Report(unittest.TestCase):
    def test_a_table_with_verdicts(self):
        draw = random.Random(4)

        def answers(share):
            return [draw.random() < share for _ in range(400)]
        records = [record(method, "100", seed, answers(share)) for seed in range(3) for method, share in
                   {"tf-idf": 0.3, "fasttext": 0.5, "three-stages": 0.1, "scratch": 0.3, "last-layer": 0.6}.items()]
        said = report.markdown(records, {"trec6": "images/x.svg"})
        line = {method: next(line for line in said.splitlines() if line.startswith(f"| {report.TITLES[method]} |"))
                for method in ("tf-idf", "fasttext", "three-stages", "scratch", "last-layer")}
        wrong = {method: report.wrong_of([r for r in records if r["method"] == method]) for method in line}
        own = compare.error(wrong["three-stages"])
        to = compare.difference(wrong["three-stages"], wrong["tf-idf"], drawn=True)
        self.assertIn(f"| {100 * own.mean:.1f} ± {100 * own.standard_error:.1f} |", line["three-stages"])
        self.assertIn(f"| {100 * to.mean:+.1f} ± {100 * to.standard_error:.1f} | below |", line["three-stages"])
        self.assertIn("| level |", line["scratch"])
        self.assertIn("| above |", line["last-layer"])
        self.assertIn("| (the best) |  |", line["tf-idf"])
        self.assertRegex(said, r"Three stages less ulmpi from scratch: -\d+\.\d ± \d\.\d, below\.")
        for part in ("![error over labels](images/x.svg)", "100 labels; 400 test rows, 1 of them repeat",
                     "trec6.sh --only three-stages", "2 cores of A CPU"):
            self.assertIn(part, said)

    def test_fit_beside_its_minutes(self):
        said = report.markdown([record("fit-5", "100", seed, [True, False], command_seconds=[seconds, 2])
                                for seed, seconds in enumerate((290, 312))], {})
        self.assertIn("| **ulmpi fit, 5 minutes** | 50.0 ± 50.0 |", said)
        self.assertIn("Given 5 minutes, fit took 4.8 to 5.2.", said)

    def test_the_newest_of_a_cell_counts_and_the_readings_are_counted(self):
        old, new = record("tf-idf", "all", 0, [True] * 10), record("tf-idf", "all", 0, [True] + [False] * 9)
        said = report.markdown([old, new], {})
        self.assertIn("| TF-IDF, logistic regression | 10.0 ± 10.0 | 0.0 | 1 |", said)
        self.assertIn("the test set was read 2 times for this cell", said)

    def test_models_to_start_from_have_rows_of_their_own(self):
        small = "trec6.sh --init-from english-small --only {}"
        records = [record("tf-idf", "100", 0, [True] * 10, repeat=small.format("tf-idf")),
                   record("with-words", "100", 0, [True] + [False] * 9),
                   record("with-words", "100", 0, [True] * 2 + [False] * 8, repeat=small.format("with-words")),
                   record("three-stages", "100", 0, [True] * 4 + [False] * 6, repeat=small.format("three-stages"))]
        said = report.markdown(records, {})
        name = report.TITLES["with-words"]
        for part in (f"| {name} | 10.0 ", f"| {name}, from english-small | 20.0 ", "| TF-IDF, logistic regression | 100.0 ",
                     "with the words, from english-small, less ulmpi, three stages: -20.0"):
            self.assertIn(part, said)
        self.assertNotIn("the test set was read", said)

    def test_language_models(self):
        records = [{"model": model, "text": text, "bits_per_byte": bits, "word_perplexity": 100 * bits, "parameters": 3344064,
                    "training_seconds": seconds} for model, seconds in (("english", 0), ("alone", 70))
                   for text, bits in (("held out", 1.5), ("WikiText-2", 1.25))]
        said = report.markdown(records[:3] + [records[0] | {"bits_per_byte": 1.2504}], {})
        self.assertIn("| model | held out | WikiText-2 | parameters | seconds of training |", said)
        self.assertIn("| english | 1.250 (150) | 1.250 (125) | 3,344,064 |  |", said)
        self.assertIn("| alone | 1.500 (150) |  | 3,344,064 | 70 |", said)


class Overlaps(unittest.TestCase):
    def test_runs_of_fifty(self):
        draw = random.Random(6)

        def letters(count):
            return "".join(draw.choice("abcdefghijklmnopqrstuvwxyz0123456789é") for _ in range(count))
        shared, short = letters(50), letters(49)
        texts = [letters(300) + short, letters(10) + shared[:25].upper() + " -- " + shared[25:] + letters(100), letters(20)]
        rows = [letters(60) + shared + "!", short + letters(40), letters(20), letters(400) + shared, shared[:49]]
        self.assertEqual(overlaps.overlapping(rows, texts), [0, 3])
        # A run that ends with one row or line does not go on in the next.
        self.assertEqual(overlaps.overlapping([shared[:25], shared[25:]], texts), [])
        self.assertEqual(overlaps.overlapping(rows, [shared[:25], shared[25:]]), [])
        plain = [number for number, row in enumerate(rows)
                 if any(clean[i:i + 50] in labelled.letters_and_digits(text) for text in texts
                        for clean in [labelled.letters_and_digits(row)] for i in range(len(clean) - 49))]
        self.assertEqual(overlaps.overlapping(rows, texts), plain)


if __name__ == "__main__":
    unittest.main()
