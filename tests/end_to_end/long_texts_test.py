"""Texts longer than the model's context are read whole: in training, prediction and judgement, under every layout."""
import json
import os
import random
import shutil

import h5py
from workshop import FILLERS, LAYOUTS, MARKERS, SHAPE, Workshop, at_once, checkpoint, main, metrics, tensors

CONTEXT = 32
COMMON = "--epochs 6 --global-batch-size 12 --log-interval 1 --threads-per-rank 1"
SOME = ["1", "dp2", "tp2", "pp2", "dp2 x pp2"]


def write_long(path, records, seed, most):
    """The words of the label stand behind what a context holds, or right at the beginning of a short text."""
    draw = random.Random(seed)
    with open(path, "w") as out:
        out.write("label\ttext\n")
        for i in range(records):
            label = draw.choice(list(MARKERS))
            words = [draw.choice(FILLERS) for _ in range(CONTEXT if i % 4 else 0)]
            words += [draw.choice(MARKERS[label]) for _ in range(4)]
            words += [draw.choice(FILLERS) for _ in range(draw.randrange(most) if i % 4 else 2)]
            out.write(f"{label}\t{' '.join(words)}\n")


def sizes(layout, size=3):
    """Micro-batches smaller than most texts have chunks, where the layout does not say it."""
    return [] if "--micro-batch-size" in LAYOUTS[layout][1] else ["--micro-batch-size", str(size)]


class LongTexts(Workshop):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        write_long("train.tsv", 120, seed=2, most=120)
        write_long("test.tsv", 60, seed=3, most=60)
        with open("lines.txt", "w") as out, open("test.tsv") as records:
            next(records)
            out.write("".join(line.split("\t")[1] for line in records))
        cls.ok(f"pretrain --data shards --train-steps 60 --global-batch-size 8 --lr 1e-2 --dropout 0.1 --run base", SHAPE)
        cls.train = (f"finetune classifier --init-from base --train train.tsv --test test.tsv --lr 5e-3 --dropout 0.1 "
                     f"--gradual-unfreezing off --discriminative-factor 1 --save-interval 30 --keep-last 10 {COMMON}")
        at_once(lambda layout: cls.ok(cls.train, sizes(layout), "--run", cls.run_of(layout), layout=layout), SOME)

    @staticmethod
    def run_of(layout):
        return "run-" + layout.replace(" ", "")

    def test_the_end_of_a_text_counts(self):
        self.ok(self.train, sizes("1"), f"--max-length {CONTEXT} --run cut")
        whole, cut = ([r for r in metrics(run) if r["kind"] == "test"][0] for run in (self.run_of("1"), "cut"))
        self.assertGreater(whole["accuracy"], 0.85)
        self.assertLess(cut["accuracy"], 0.65)  # it sees a quarter of the markers

    def test_every_layout_trains_the_same(self):
        alone = metrics(self.run_of("1"))
        for layout in SOME[1:]:
            with self.subTest(layout=layout):
                for a, b in zip(alone, metrics(self.run_of(layout)), strict=True):
                    self.assertEqual((a["kind"], a["step"], a.get("tokens"), a.get("ledger")),
                                     (b["kind"], b["step"], b.get("tokens"), b.get("ledger")))
                    self.assert_close(a["loss"], b["loss"], 2e-5 if a["step"] <= 20 else 1e-2, f"loss of {a['step']}")

    def test_the_ledger_counts_a_text_once(self):
        for layout in SOME:
            record = json.loads(self.ok("data ledger", self.run_of(layout)))
            self.assertTrue(record["matches"])
            self.assertEqual((record["least_reads"], record["most_reads"]), (6, 6))

    def test_a_run_in_two_parts_has_the_same_bits(self):
        for layout in SOME:
            with self.subTest(layout=layout):
                whole, parts = self.run_of(layout), "parts-" + self.run_of(layout)
                shutil.copytree(whole, parts)
                os.remove(checkpoint(parts, 60))
                self.ok(self.train, sizes(layout), "--run", parts, layout=layout)
                self.assertIn("step 30", self.said)
                a, b = tensors(checkpoint(whole, 60)), tensors(checkpoint(parts, 60))
                self.assertEqual(sorted(a), sorted(b))
                for name, tensor in a.items():
                    self.assertEqual(tensor.tobytes(), b[name].tobytes(), name)

    def rows(self, *arguments, layout="1", **more):
        return [line.split("\t") for line in self.ok("predict", *arguments, layout=layout, **more).decode().splitlines()[1:]]

    def test_predict_and_evaluate_agree_under_every_layout(self):
        run = self.run_of("1")
        judged = [r for r in metrics(run) if r["kind"] == "test"][0]
        with open("test.tsv") as records:
            labels = [line.split("\t")[0] for line in records][1:]
        alone = None
        for layout in SOME:
            for size in (1, 3, 16) if layout == "1" else (3,):
                with self.subTest(layout=layout, size=size):
                    small = sizes(layout, size)
                    said = json.loads(self.ok(f"evaluate --model {run} --test test.tsv", small, layout=layout))
                    self.assert_close(said["loss"], judged["loss"], 1e-5, "loss")
                    self.assertEqual(said["confusion"], judged["confusion"])
                    rows = self.rows(f"--model {run} --input lines.txt", small, layout=layout)
                    right = sum(row[0] == label for row, label in zip(rows, labels, strict=True))
                    self.assertAlmostEqual(right / len(labels), judged["accuracy"], delta=1e-6)
                    alone = alone or rows
                    for a, b in zip(alone, rows, strict=True):
                        for p, q in zip(a[1:], b[1:]):
                            self.assertAlmostEqual(float(p), float(q), delta=3e-6)

    def test_a_text_of_a_hundred_thousand_tokens(self):
        """The same however many chunks go together; and what its last chunk does not see counts."""
        run = self.run_of("1")
        words = " ".join(random.Random(5).choices(FILLERS, k=100_000))
        texts = "".join(f"{marker} {words}\n" for marker in ("bright happy sunny lovely", "gloomy awful rotten dreadful"))
        encoded = self.ok("data encode --tokenizer tokenizer.json --input -", input=texts.encode())
        self.assertGreater(len(encoded.split()), 200_000)
        few = self.rows(f"--model {run} --input - --micro-batch-size 1", input=texts.encode())
        many = self.rows(f"--model {run} --input - --micro-batch-size 64", input=texts.encode(), layout="dp2")
        self.assertNotIn("cut", self.said)
        for a, b in zip(few, many, strict=True):
            for p, q in zip(a[1:], b[1:]):
                self.assertAlmostEqual(float(p), float(q), delta=3e-6)
        self.assertNotEqual(few[0][1:], few[1][1:])

    def test_cuts_are_counted_and_remembered(self):
        for most in CONTEXT, 3 * CONTEXT:
            run = f"cut-{most}"
            self.ok(self.train.replace("--epochs 6", "--epochs 1"), sizes("1"), f"--max-length {most} --run {run}")
            self.assertIn(f"of train.tsv are longer than {most} tokens and are cut", self.said)
            with h5py.File(checkpoint(run, 10)) as file:
                self.assertEqual(json.loads(file["metadata"][()])["classifier"]["max_length"], most)
            tokens = self.ok("data encode --tokenizer tokenizer.json --input lines.txt").decode().splitlines()
            longer = sum(len(line.split()) > most for line in tokens)
            self.ok(f"predict --model {run} --input lines.txt")
            self.assertIn(f"note: {longer} lines are longer than {most} tokens and were cut", self.said)
        self.ok(f"evaluate --model {self.run_of('1')} --test test.tsv")
        self.assertNotIn("cut", self.said)


if __name__ == "__main__":
    main()
