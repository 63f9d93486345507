"""The chain from text to classifier gives the same under every layout of the ranks."""
import json
import re

from workshop import LAYOUTS, SHAPE, Workshop, at_once, main, metrics

COMMON = "--global-batch-size 8 --log-interval 1 --threads-per-rank 1"
NAMES = {name: "run-" + re.sub(r"\W+", "-", name) for name in LAYOUTS}


class Layouts(Workshop):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        def chain(layout):
            run = NAMES[layout]
            small = "--micro-batch-size 3" if layout == "1" else ""  # a batch of 8 leaves one of 2
            cls.ok(
                f"pretrain --data shards --valid shards --dropout 0.1 --train-steps 8 --lr 3e-3 {COMMON} --run {run}.1",
                SHAPE, small, "--num-query-groups 2", layout=layout,
            )
            cls.ok(
                f"finetune lm --init-from {run}.1 --data shards --valid shards --train-steps 6 --ema 0.8 {COMMON} "
                f"--run {run}.2",
                layout=layout,
            )
            # 40 records: batches of 12 leave one of 4.
            cls.ok(
                f"finetune classifier --init-from {run}.2 --train train.tsv --valid train.tsv --test test.tsv --epochs 4 "
                f"--class-weights balanced --recipe ulmfit --lr 1e-2 --label-smoothing 0.1 --ema 0.8 --reinit-blocks 1 "
                f"{COMMON.replace('8', '12')} --eval-interval 4 --run {run}.3",
                layout=layout,
            )

        at_once(chain, LAYOUTS)
        with open("lines.txt", "w") as out, open("test.tsv") as records:
            next(records)
            out.write("".join(line.split("\t")[1] for line in records))

    def test_training_gives_the_same_losses(self):
        for stage in "123":
            alone = metrics(f"{NAMES['1']}.{stage}")
            for layout, run in NAMES.items():
                with self.subTest(stage=stage, layout=layout):
                    records = metrics(f"{run}.{stage}")
                    self.assertEqual([(r["kind"], r["step"]) for r in alone], [(r["kind"], r["step"]) for r in records])
                    for a, b in zip(alone, records):
                        where = f"{a['kind']} of step {a['step']}"
                        self.assertEqual(a.get("tokens"), b.get("tokens"), where)
                        self.assert_close(a["loss"], b["loss"], 2e-5, "loss, " + where)
                        if "grad_norm" in a:
                            self.assert_close(a["grad_norm"], b["grad_norm"], 5e-5, "gradient norm, " + where)
                        if "accuracy" in a:
                            self.assertEqual(a["confusion"] if "confusion" in a else a["accuracy"],
                                             b["confusion"] if "confusion" in b else b["accuracy"])

    def probabilities(self, run, layout, lines, *more):
        """label, probabilities of each line."""
        out = self.ok(f"predict --model {run} --input - --threads-per-rank 1", *more, layout=layout, input=lines)
        header, *rows = [line.split("\t") for line in out.decode().splitlines()]
        self.assertEqual(header, ["label", "bad", "good", "plain"])
        return [(row[0], [float(p) for p in row[1:]]) for row in rows]

    def assert_same_predictions(self, a, b, tolerance):
        self.assertEqual(len(a), len(b))
        for (label, first), (other, second) in zip(a, b):
            self.assertAlmostEqual(sum(first), 1, delta=2e-6)
            for p, q in zip(first, second):
                self.assertAlmostEqual(p, q, delta=tolerance)
            if sorted(first)[-1] - sorted(first)[-2] > 2 * tolerance:
                self.assertEqual(label, other)

    def test_classifiers_trained_under_all_layouts_predict_the_same(self):
        lines = open_bytes("lines.txt")
        alone = self.probabilities(NAMES["1"] + ".3", "1", lines)
        self.assertEqual(len(alone), lines.count(b"\n"))
        for layout, run in NAMES.items():
            with self.subTest(layout=layout):
                self.assert_same_predictions(alone, self.probabilities(run + ".3", "1", lines), 1e-4)

    def test_one_classifier_predicts_the_same_under_all_layouts(self):
        """To 1e-6, and the six decimals that are printed may round apart."""
        run, lines = NAMES["tp2"] + ".3", open_bytes("lines.txt")
        alone = self.probabilities(run, "1", lines)
        report = json.loads(self.ok(f"evaluate --model {run} --test test.tsv"))
        for layout in LAYOUTS:
            with self.subTest(layout=layout):
                self.assert_same_predictions(alone, self.probabilities(run, layout, lines), 2e-6)
                other = json.loads(self.ok(f"evaluate --model {run} --test test.tsv", layout=layout))
                self.assert_close(report["loss"], other["loss"], 2e-6, "loss")
                self.assertEqual(dict(report, loss=0), dict(other, loss=0))

    def test_a_line_does_not_know_its_neighbours(self):
        run, lines = NAMES["1"] + ".3", open_bytes("lines.txt")
        odd = lines.splitlines(keepends=True)[:3] + [b"\n", b"\xff\xfe\x00 odd bytes\n", b"long " * 100 + b"\n", b"no end"]
        together = self.probabilities(run, "1", b"".join(odd))
        self.assertEqual(len(together), len(odd))
        for line, expected in zip(odd, together):
            with self.subTest(line=line):
                self.assert_same_predictions([expected], self.probabilities(run, "1", line), 2e-6)
        for size in "1", "3":
            again = self.probabilities(run, "1", b"".join(odd), f"--micro-batch-size {size}")
            self.assert_same_predictions(together, again, 2e-6)

    def test_one_language_model_scores_and_writes_the_same_under_all_layouts(self):
        run = NAMES["pp2"] + ".2"
        score = json.loads(self.ok(f"evaluate --model {run} --data shards --micro-batch-size 5"))
        strided = json.loads(self.ok(f"evaluate --model {run} --data shards --stride 8"))
        self.assertEqual(score["tokens"], strided["tokens"])
        text = self.ok(f"generate --model {run} --max-tokens 40 --prompt", ["the cat"])
        best = self.ok(f"generate --model {run} --max-tokens 12 --temperature 0 --prompt", [""])
        for layout in list(LAYOUTS)[1:]:
            with self.subTest(layout=layout):
                other = json.loads(self.ok(f"evaluate --model {run} --data shards", layout=layout))
                self.assertEqual(sorted(score), sorted(other))
                for name, value in score.items():
                    if isinstance(value, (int, float)):
                        self.assert_close(value, other[name], 2e-6, name)
                again = self.ok(f"generate --model {run} --max-tokens 40 --prompt", ["the cat"], layout=layout)
                self.assertEqual(text, again)
                again = self.ok(f"generate --model {run} --max-tokens 12 --temperature 0 --prompt", [""], layout=layout)
                self.assertEqual(best, again)


def open_bytes(path):
    with open(path, "rb") as file:
        return file.read()


if __name__ == "__main__":
    main()
