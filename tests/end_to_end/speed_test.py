"""What --profile writes and says, and training with products of bf16."""
import collections
import json
import re

from workshop import LAYOUTS, Workshop, main, metrics

SHAPE = "--num-layers 2 --hidden-size 32 --num-attention-heads 4 --seq-length 32"


class Profile(Workshop):
    def test_a_trace_holds_every_phase_of_every_rank(self):
        steps, rows, micro = 5, 8, 2
        for layout in "1", "dp2", "tp2", "pp2":
            with self.subTest(layout):
                ranks, _ = LAYOUTS[layout]
                self.ok(f"pretrain --data shards --valid shards {SHAPE} --train-steps {steps} --global-batch-size {rows} "
                        f"--micro-batch-size {micro} --run {layout} --profile {layout}.json", layout=layout)
                with open(f"{layout}.json") as file:
                    events = json.load(file)["traceEvents"]
                self.assertEqual(sorted(e["args"]["name"] for e in events if e["ph"] == "M"),
                                 [f"rank {rank}" for rank in range(ranks)])
                spans = [e for e in events if e["ph"] == "X"]
                for rank in range(ranks):
                    mine = [e for e in spans if e["tid"] == rank]
                    counts = collections.Counter(e["name"] for e in mine)
                    batches = steps * rows // micro // (2 if layout == "dp2" else 1)
                    self.assertEqual(counts["backward"], batches)
                    self.assertGreater(counts["forward"], batches)  # the evaluation's too
                    self.assertEqual(counts["load"], steps)
                    self.assertEqual(counts["optimizer"], steps)
                    self.assertEqual(counts["save"], 1)
                    self.assertEqual(counts["evaluate"], 1)
                    self.assertEqual(counts["all-reduce"] > 0, ranks > 1)
                    if layout != "tp2":  # whose checkpoint is put together by messages
                        self.assertEqual(counts["receive"] + counts["send"] > 0, layout == "pp2")
                    self.assert_nested(mine)
                table = self.said[self.said.index("time in"):]
                shares = [float(s) for s in re.findall(r"^  \S+ +(\d+\.\d) %", table, re.M)]
                self.assertAlmostEqual(sum(shares), 100, delta=1)
                self.assertRegex(table, r"\d+ GFLOP/s, \d+ % of the GEMM peak")

    def assert_nested(self, spans):
        """On one track a span lies inside another or beside it; microseconds are written with one decimal."""
        open_until = []
        for span in sorted(spans, key=lambda e: (e["ts"], -e["dur"])):
            self.assertGreaterEqual(span["ts"], 0)
            while open_until and open_until[-1] <= span["ts"] + 0.2:
                open_until.pop()
            if open_until:
                self.assertLessEqual(span["ts"] + span["dur"], open_until[-1] + 0.2)
            open_until.append(span["ts"] + span["dur"])

    def test_sums_that_begin_while_backward_runs(self):
        """They change nothing, and what share of them was hidden is said."""
        words = ("pretrain --data shards --num-layers 2 --hidden-size 512 --num-attention-heads 4 --seq-length 32 "
                 "--train-steps 2 --global-batch-size 8")
        for run, option in ("after", "off"), ("beside", "on"):
            self.ok(words, f"--overlap-grad-reduce {option} --run {run}", layout="dp2")
            self.assertEqual(" % of the gradients' sums were there when backward ended" in self.said, option == "on")
        self.assertEqual(metrics("after"), metrics("beside"))

    def test_gradients_of_weights_in_a_pass_of_their_own(self):
        """The same bits as 1f1b; twice as many spans of backward; and room for what waits."""
        kept = {}
        for schedule in "1f1b", "zb-h1":
            self.ok(f"pretrain --data shards {SHAPE} --train-steps 3 --global-batch-size 8 --micro-batch-size 2 "
                    f"--pipeline-schedule {schedule} --run of-{schedule} --profile {schedule}.json", layout="pp2")
            with open(f"{schedule}.json") as file:
                spans = sum(e["name"] == "backward" for e in json.load(file)["traceEvents"])
            self.assertEqual(spans, 2 * 3 * 4 * (2 if schedule == "zb-h1" else 1))
            kept[schedule] = re.search(r"about (\d+) (.B) per rank", self.said).groups()
        self.assertEqual(metrics("of-1f1b"), metrics("of-zb-h1"))
        self.assertNotEqual(kept["1f1b"], kept["zb-h1"])

    def test_every_run_ends_in_a_table_and_nothing_is_written_unasked(self):
        self.ok(f"finetune classifier --tokenizer tokenizer.json --train train.tsv {SHAPE} --epochs 1 --run short")
        self.assertRegex(self.said, r"(?m)^  forward +\d+\.\d %")
        self.assertNotIn("peak", self.said)

    def test_bench_holds_itself_against_the_peak(self):
        record = json.loads(self.ok(f"bench step {SHAPE} --vocab-size 100 --micro-batch-size 2 --steps 2"))
        self.assertGreater(record["gemm_peak_share"], 0)
        self.assertLess(record["gemm_peak_share"], 1.5)
        self.assertGreater(record["instruction_peak_share"], 0)
        peaks = json.loads(self.ok("bench gemm --seconds 0.3"))
        self.assertGreater(peaks["instruction_peak_gflops"], 0.5 * peaks["gflops"])  # it is its limit, were there no noise


class Bf16(Workshop):
    def train(self, run, *more, layout="1"):
        self.ok(f"pretrain --data shards --valid shards {SHAPE} --train-steps 60 --global-batch-size 16 --lr 5e-3 --run {run}",
                *more, layout=layout)
        return [r for r in metrics(run) if r["kind"] == "valid"][0]["loss"]

    def test_learns_what_full_products_learn(self):
        attempt = self.run_ulmpi(f"bench step {SHAPE} --vocab-size 100 --steps 1 --precision bf16")
        if attempt.returncode != 0:
            self.assertEqual(attempt.returncode, 2)
            self.assertRegex(attempt.stderr.decode(), r"^ulmpi: --precision bf16 cannot be had: .*fp32\n$")
            self.skipTest(attempt.stderr.decode().strip())
        full = self.train("full")
        for layout in "1", "dp2", "tp2", "pp2":
            with self.subTest(layout):
                run = "bf16 in " + layout
                rounded = self.train(run.replace(" ", "-"), "--precision bf16", layout=layout)
                self.assertNotEqual(rounded, full)
                self.assert_close(rounded, full, 0.01, run)
        said = json.loads(self.ok("evaluate --model bf16-in-1 --data shards"))
        again = json.loads(self.ok("evaluate --model bf16-in-1 --data shards --precision bf16"))
        self.assertNotEqual(said["loss"], again["loss"])
        self.assert_close(said["loss"], again["loss"], 0.01, "evaluated in full and rounded")


if __name__ == "__main__":
    main()
