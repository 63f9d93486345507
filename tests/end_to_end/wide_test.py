"""A classifier with a linear model of words beside the network: trained, resumed, saved and asked under every layout."""
import json
import os
import shutil

import h5py
from workshop import LAYOUTS, SHAPE, Workshop, at_once, checkpoint, main, metrics, tensors, write_labelled

SOME = ["1", "dp2", "tp2", "pp2", "dp2 x pp2"]
COMMON = "--global-batch-size 12 --log-interval 1 --threads-per-rank 1 --save-interval 10 --keep-last 10"


def wide(run, step):
    with h5py.File(checkpoint(run, step)) as file:
        return file["wide/model"][:].tobytes(), file["wide/held_out"][:].tobytes()


class Wide(Workshop):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        write_labelled("train.tsv", 60, seed=2)
        with open("lines.txt", "w") as out, open("test.tsv") as records:
            next(records)
            out.write("".join(line.split("\t")[1] for line in records))
        cls.scratch = "finetune classifier --tokenizer tokenizer.json --train train.tsv --test test.tsv --dropout 0.1"
        cls.train = f"{cls.scratch} --wide-features on --lr 5e-3 --epochs 4 {COMMON}"
        at_once(lambda layout: cls.ok(cls.train, SHAPE, "--run", cls.run_of(layout), layout=layout), SOME)

    @staticmethod
    def run_of(layout):
        return "run-" + layout.replace(" ", "")

    def test_words_alone_tell_the_classes(self):
        """A network that does not learn: what is right then are the words."""
        still = f"{self.scratch} --epochs 1 --global-batch-size 60 --lr 1e-12 --threads-per-rank 1"
        self.ok(still, SHAPE, "--wide-features on --run still-wide")
        self.assertRegex(self.said, r"wide features: [0-9]+ n-grams of 1 to \d words in 60 texts, .*; error [0-9.]+ %")
        self.ok(still, SHAPE, "--wide-features off --run still")
        self.assertNotIn("wide features", self.said)
        with_words, without = (metrics(run)[-1]["accuracy"] for run in ("still-wide", "still"))
        self.assertGreater(with_words, 0.8)
        self.assertLess(without, 0.6)

    def test_every_layout_trains_the_same(self):
        alone = metrics(self.run_of("1"))
        for layout in SOME[1:]:
            with self.subTest(layout=layout):
                self.assertEqual(wide(self.run_of("1"), 20), wide(self.run_of(layout), 20))
                for a, b in zip(alone, metrics(self.run_of(layout)), strict=True):
                    self.assertAlmostEqual(a["loss"], b["loss"], delta=2e-5 if a["step"] <= 10 else 1e-2)

    def test_its_scale_is_learned(self):
        scale = tensors(checkpoint(self.run_of("1"), 20))["classifier.wide.scale"]
        self.assertEqual(scale.shape, (1,))
        self.assertNotEqual(scale[0], 1)
        self.assertGreater(scale[0], 0.5)

    def test_a_run_in_two_parts_has_the_same_bits(self):
        for layout in SOME:
            with self.subTest(layout=layout):
                whole, parts = self.run_of(layout), "parts-" + self.run_of(layout)
                shutil.copytree(whole, parts)
                os.remove(checkpoint(parts, 20))
                self.ok(self.train, SHAPE, "--run", parts, layout=layout)
                self.assertIn("step 10", self.said)
                self.assertIn("wide features", self.said)
                self.assertEqual(wide(whole, 20), wide(parts, 20))
                a, b = tensors(checkpoint(whole, 20)), tensors(checkpoint(parts, 20))
                self.assertEqual(sorted(a), sorted(b))
                for name, tensor in a.items():
                    self.assertEqual(tensor.tobytes(), b[name].tobytes(), name)

    def rows(self, *arguments, layout="1"):
        return [line.split("\t") for line in self.ok("predict", *arguments, layout=layout).decode().splitlines()[1:]]

    def test_predict_and_evaluate_agree_under_every_layout(self):
        run = self.run_of("1")
        judged = metrics(run)[-1]
        self.assertEqual(judged["kind"], "test")
        with open("test.tsv") as records:
            labels = [line.split("\t")[0] for line in records][1:]
        alone = self.rows(f"--model {run} --input lines.txt")
        right = sum(row[0] == label for row, label in zip(alone, labels, strict=True))
        self.assertAlmostEqual(right / len(labels), judged["accuracy"], delta=1e-6)
        for layout in SOME:
            with self.subTest(layout=layout):
                said = json.loads(self.ok(f"evaluate --model {run} --test test.tsv", layout=layout))
                self.assert_close(said["loss"], judged["loss"], 1e-5, "loss")
                for a, b in zip(alone, self.rows(f"--model {run} --input lines.txt", layout=layout), strict=True):
                    for p, q in zip(a[1:], b[1:]):
                        self.assertAlmostEqual(float(p), float(q), delta=3e-6)

    def test_files_say_what_they_hold(self):
        run = self.run_of("1")
        shown = json.loads(self.ok("checkpoint show", run))
        self.assertEqual(shown["format_version"], 3)
        model, held_out = wide(run, 20)
        self.assertEqual(shown["wide_bytes"], len(model) + len(held_out))
        self.assertEqual(len(held_out), 60 * 3 * 4)
        self.ok("checkpoint verify", run)
        self.ok(f"checkpoint slim {run} --output slim.h5 --precision fp32")
        with h5py.File("slim.h5") as file:
            self.assertEqual(file["wide/model"][:].tobytes(), model)
            self.assertNotIn("wide/held_out", file)
        self.assertEqual(self.rows(f"--model {run} --input lines.txt"), self.rows("--model slim.h5 --input lines.txt"))

    def test_a_run_goes_on_as_it_began(self):
        run = self.run_of("1")
        shutil.copytree(run, "with")
        os.remove(checkpoint("with", 20))
        self.refused(self.train.replace("--wide-features on", "--wide-features off"), "with", "began with them")
        self.ok(self.scratch, SHAPE, f"--run without --wide-features off {COMMON} --epochs 1")
        self.refused(f"{self.scratch} --wide-features on {COMMON} --epochs 2", "without", "began without them")

    def refused(self, command, run, words):
        done = self.run_ulmpi(command, SHAPE, "--run", run)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn(words, done.stderr.decode())


if __name__ == "__main__":
    main()
