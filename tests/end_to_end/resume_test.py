"""A run in two parts is the run in one: bit for bit under the same layout, closely under another."""
import json
import os
import shutil
import subprocess
import time

import h5py
from workshop import LAYOUTS, SHAPE, Workshop, at_once, checkpoint, contents, main, metrics, saved_steps, tensors

COMMON = "--dropout 0.2 --global-batch-size 8 --micro-batch-size 2 --save-interval 5 --keep-last 10 --log-interval 1"
PRETRAIN = f"pretrain --data shards --valid shards --eval-interval 5 --train-steps 10 --lr 3e-3 {COMMON}"
STAGES = {
    "pretrain": [PRETRAIN, SHAPE],
    "finetune lm": [f"finetune lm --init-from base --data shards --train-steps 10 --lr 3e-3 --ema 0.9 {COMMON}"],
    # Two steps an epoch: the fifth is in the middle of an epoch and of unfreezing.
    "finetune classifier": [
        f"finetune classifier --init-from base --train train.tsv --test test.tsv --epochs 5 --lr 3e-3 {COMMON}",
        "--global-batch-size 20 --gradual-unfreezing on --ema 0.8 --label-smoothing 0.1 --reinit-blocks 1",
    ],
}
STAGES["finetune classifier"][0] = STAGES["finetune classifier"][0].replace("--global-batch-size 8 ", "")


def resident_megabytes(pid):
    """Of a process that may have ended."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6
    except (OSError, IndexError):
        return 0


class Resume(Workshop):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ok(PRETRAIN.replace("0.2", "0"), SHAPE, "--run base")

    def assert_same_bits(self, a, b):
        a, b = tensors(a), tensors(b)
        self.assertEqual(sorted(a), sorted(b))
        self.assertTrue(any(name.startswith("optimizer/second_moment") for name in a))
        for name, tensor in a.items():
            self.assertEqual(tensor.tobytes(), b[name].tobytes(), name)

    def test_ten_steps_are_five_and_five(self):
        layouts = [("1", "2")] + [(name, "1") for name in ("1", "dp2", "tp2", "pp2", "tp2 x pp2")]
        cases = [(stage, layout, threads) for stage in STAGES for layout, threads in layouts]

        def run(case):
            stage, layout, threads = case
            whole, parts = (f"{part}-{cases.index(case)}" for part in ("whole", "parts"))
            arguments = [*STAGES[stage], "--threads-per-rank", threads]
            self.ok(*arguments, "--run", whole, layout=layout)
            shutil.copytree(whole, parts)
            os.remove(checkpoint(parts, 10))
            self.ok(*arguments, "--run", parts, layout=layout)
            return whole, parts, self.said

        for (stage, layout, threads), (whole, parts, said) in zip(cases, at_once(run, cases)):
            with self.subTest(stage=stage, layout=layout, threads=threads):
                self.assertIn("step 5", said)
                self.assert_same_bits(checkpoint(whole, 10), checkpoint(parts, 10))
                self.assertEqual(metrics(whole), metrics(parts))
                a, b = (json.loads(self.ok("checkpoint show", run)) for run in (whole, parts))
                self.assertEqual(a["lineage"], b["lineage"])
                for record in (a, b):  # a time stamp, a name, and their lengths
                    record["progress"].pop("seconds"), record["options"].pop("run"), record.pop("path"), record.pop("bytes")
                self.assertEqual(a, b)

    def test_resume_from_a_named_checkpoint_in_a_fresh_folder(self):
        self.ok(PRETRAIN, SHAPE, "--run named")
        self.ok(PRETRAIN, "--run fresh --resume", checkpoint("named", 5))
        self.assert_same_bits(checkpoint("named", 10), checkpoint("fresh", 10))
        self.assertEqual([r for r in metrics("named") if r["step"] > 5], metrics("fresh"))

    def test_a_run_that_goes_back_leaves_its_newer_checkpoints_behind(self):
        """What goes on by itself then goes on from the new ones; so does a job of Slurm that comes back."""
        self.ok(PRETRAIN, SHAPE, "--run back")
        left_behind = tensors(checkpoint("back", 10))
        back = ["--run back --resume", checkpoint("back", 5)]
        self.ok(PRETRAIN.replace("--train-steps 10", "--train-steps 7"), *back)
        self.assertIn("checkpoint above step 5, from which the run goes on", self.said)
        self.assertEqual(sorted(os.listdir("back/checkpoints")),
                         ["step-00000005.h5", "step-00000007.h5", "step-00000010.h5.old-1"])
        aside = tensors(checkpoint("back", 10) + ".old-1")
        self.assertTrue(all((tensor == aside[name]).all() for name, tensor in left_behind.items()))
        self.ok(PRETRAIN.replace("--train-steps 10", "--train-steps 8"), "--run back")
        self.assertIn("(step 7)", self.said)
        self.ok(PRETRAIN.replace("--train-steps 10", "--train-steps 9"), *back,
                env=dict(self.environment, SLURM_RESTART_COUNT="1"))
        self.assertIn("(step 8)", self.said)

    def test_a_job_that_comes_back_before_it_has_saved_goes_on_from_what_was_named(self):
        self.ok(PRETRAIN, SHAPE, "--run first")
        again = dict(self.environment, SLURM_RESTART_COUNT="1")
        self.ok(PRETRAIN, "--run second --resume", checkpoint("first", 5), env=again)
        self.assertIn("going on from first/checkpoints/step-00000005.h5", self.said)
        self.assert_same_bits(checkpoint("first", 10), checkpoint("second", 10))

    def test_a_run_has_its_own_last_checkpoint_and_its_own_best(self):
        """Whatever it went on from: here from one that is all that was wanted, and knows of a best that lies elsewhere."""
        self.ok(PRETRAIN, SHAPE, "--run theirs")
        self.ok(PRETRAIN, "--run mine --resume", checkpoint("theirs", 10))
        self.assertEqual(saved_steps("mine"), [10])
        self.ok("evaluate --model mine --data shards")
        for valid in ("--valid shards", ""):
            command = PRETRAIN.replace("--valid shards --eval-interval 5", valid)
            shutil.rmtree("mine")
            self.ok(command, "--run mine --resume", checkpoint("theirs", 10))
            self.assertEqual(saved_steps("mine"), [10])
            self.ok(command, "--run mine")
            self.assertIn("nothing to do", self.said)
        with h5py.File(checkpoint("theirs", 10)) as file:
            step = json.loads(file["metadata"][()])["progress"]["best"]["step"]
        self.assertIn(step, saved_steps("theirs"))
        longer = PRETRAIN.replace("--train-steps 10", "--train-steps 15 --lr-schedule constant").replace("3e-3", "10")
        shutil.rmtree("mine")
        self.ok(longer, "--run mine --resume", checkpoint("theirs", 10))  # which spoils the model
        self.assertIn(json.loads(self.ok("checkpoint show mine"))["progress"]["best"]["step"], saved_steps("mine"))

    def test_another_run_that_began_meanwhile_is_let_be(self):
        self.ok(PRETRAIN, SHAPE, "--run earlier")
        large = ["--num-layers 8 --hidden-size 1024 --num-attention-heads 8 --seq-length 32 --run both"]  # slow to begin
        words = [word for a in [PRETRAIN, *large] for word in a.split()]
        late = subprocess.Popen([self.ulmpi, *words], env=self.environment, stderr=subprocess.PIPE)
        while late.poll() is None and resident_megabytes(late.pid) < 200:  # it has looked, and makes its weights
            time.sleep(0.02)
        self.assertFalse(os.path.exists("both"))
        shutil.copytree("earlier", "both")
        before = contents("both")
        _, said = late.communicate()
        self.assertEqual(late.returncode, 2, said)
        self.assertIn(b"another run has begun in both meanwhile", said)
        after = contents("both")
        after.pop(".lock", None), before.pop(".lock", None)
        self.assertEqual(before, after)

    def test_dropout_can_change_on_the_way(self):
        for stage, command in STAGES.items():
            with self.subTest(stage=stage):
                self.ok(*command, "--run drops")
                os.remove(checkpoint("drops", 10))
                self.ok(command[0].replace("--dropout 0.2", "--dropout 0.3"), *command[1:], "--run drops")
                self.assertEqual(json.loads(self.ok("checkpoint show drops"))["model"]["residual_dropout"], 0.3)
                shutil.rmtree("drops")

    def test_what_is_there_but_cannot_be_read_is_not_nothing(self):
        self.ok(PRETRAIN, SHAPE, "--run linked")
        os.mkdir("archive")
        for step in (5, 10):
            os.rename(checkpoint("linked", step), f"archive/{step}")
            os.symlink(os.path.abspath(f"archive/{step}"), checkpoint("linked", step))
        self.ok(PRETRAIN, "--run linked")
        self.assertIn("nothing to do", self.said)
        os.rename("archive", "archive-that-is-not-mounted")
        before = metrics("linked")
        for resume in ("auto", "never"):
            done = self.run_ulmpi(PRETRAIN, SHAPE, "--run linked --resume", resume, ranks=2)
            self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(metrics("linked"), before)
        shutil.rmtree("linked/checkpoints")
        os.symlink("checkpoints", "linked/checkpoints")  # to itself
        done = self.run_ulmpi(PRETRAIN, SHAPE, "--run linked", ranks=2)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn(b"cannot look into 'linked/checkpoints'", done.stderr)
        self.assertEqual(metrics("linked"), before)

    def test_metrics_past_the_checkpoint_are_cut(self):
        self.ok(PRETRAIN, SHAPE, "--run cut")
        wanted = metrics("cut")
        os.remove(checkpoint("cut", 10))
        with open("cut/metrics.jsonl", "a") as file:
            file.write('{"kind":"train","step":11,"loss":1}\n{"kind":"train","st')  # killed while writing
        self.ok(PRETRAIN, "--run cut")
        self.assertEqual(metrics("cut"), wanted)

    def test_damaged_checkpoints_are_passed_over(self):
        command = PRETRAIN.replace("--save-interval 5", "--save-interval 2")
        self.ok(command, SHAPE, "--run whole")
        shutil.copytree("whole", "damaged")
        with open(checkpoint("damaged", 10), "r+b") as file:
            file.truncate(5000)
        with open(checkpoint("damaged", 8), "r+b") as file:
            file.seek(-1000, os.SEEK_END)
            byte = file.read(1)
            file.seek(-1000, os.SEEK_END)
            file.write(bytes([byte[0] ^ 4]))
        self.ok(command, "--run damaged", layout="dp2")
        self.assertRegex(self.said, "passed over: .*step-00000010.h5' is truncated")
        self.assertRegex(self.said, "passed over: .*step-00000008.h5' is damaged")
        self.assertRegex(self.said, "going on from .*step-00000006.h5")
        self.ok("checkpoint verify damaged")
        self.assert_close(metrics("whole")[-1]["loss"], metrics("damaged")[-1]["loss"], 2e-5, "the last loss")
        for step in saved_steps("damaged"):
            os.truncate(checkpoint("damaged", step), 1000)
        done = self.run_ulmpi(command, "--run damaged", ranks=2)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn(b"none can be used", done.stderr)

    def test_two_at_once_are_refused(self):
        command = [PRETRAIN.replace("--train-steps 10", "--train-steps 100000"), SHAPE, "--run busy"]
        words = [word for a in command for word in (a.split() if isinstance(a, str) else a)]
        first = subprocess.Popen([self.ulmpi, *words], env=self.environment, stderr=subprocess.PIPE)
        while not os.path.exists("busy/metrics.jsonl"):
            time.sleep(0.01)
        done = self.run_ulmpi(*command, ranks=2)
        first.kill()  # without a chance to clean up
        first.communicate()
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn(b"'busy' is in use by process %d on " % first.pid, done.stderr)
        self.ok(PRETRAIN, SHAPE, "--run busy --resume auto")

    def test_a_longer_run_goes_on_where_the_shorter_ended(self):
        constant = [PRETRAIN.replace("--train-steps 10", "--lr-schedule constant"), SHAPE]
        self.ok(*constant, "--train-steps 10 --run ten")
        self.ok(*constant, "--train-steps 5 --run longer")
        self.ok("pretrain --data shards --run longer --train-steps 10")  # the rest is the checkpoint's
        self.assert_same_bits(checkpoint("ten", 10), checkpoint("longer", 10))

    def test_other_layouts_go_on_closely(self):
        """One run that changes its layout at every start, against one that was left alone: losses, tensors, samples."""
        constant = [PRETRAIN.replace("--train-steps 10", "--lr-schedule constant"), SHAPE, "--run"]
        constant[0] = constant[0].replace("--micro-batch-size 2 ", "")  # a layout may bring its own
        self.ok(*constant, "alone --train-steps 10")
        chains = {
            "there and back": ("1", "dp2", "tp2", "dp2 x pp2", "1"),
            "every layout": ("1", "dp2", "tp2", "pp2", "tp2 x pp2"),
        }
        for chain, layouts in chains.items():
            with self.subTest(chain=chain):
                for steps, layout in zip((3, 5, 7, 8, 10), layouts):
                    self.ok(*constant, "chain --train-steps", str(steps), layout=layout)
                self.assert_same_run_closely("alone", "chain")
            shutil.rmtree("chain")

    def assert_same_run_closely(self, alone, chain):
        losses = {}
        for run in (alone, chain):
            losses[run] = {r["step"]: r["loss"] for r in metrics(run) if r["kind"] == "train"}
        self.assertEqual(sorted(losses[chain]), list(range(1, 11)))
        for step, loss in losses[alone].items():
            self.assert_close(loss, losses[chain][step], 2e-5, f"loss of step {step}")
        expected, found = tensors(checkpoint(alone, 10)), tensors(checkpoint(chain, 10))
        self.assertEqual(sorted(expected), sorted(found))
        for name, tensor in expected.items():
            difference = abs(tensor - found[name])
            self.assertLessEqual(difference.max(), 2e-5, name)
            if name.endswith("qkv.bias"):  # softmax does not see the keys' bias: Adam moves it by what rounding leaves
                third = len(difference) // 3
                difference[third:2 * third] = 0
            self.assertLessEqual(difference.max(), 2e-5 * abs(tensor).max(), name)
        ledgers = [json.loads(self.ok("data ledger", run)) for run in (alone, chain)]
        self.assertEqual(ledgers[0].pop("run"), alone)
        self.assertEqual(ledgers[1].pop("run"), chain)
        self.assertGreaterEqual(ledgers[1].pop("ledgers_compared"), 15)  # 10 lines of metrics, 5 checkpoints
        ledgers[0].pop("ledgers_compared")
        self.assertEqual(ledgers[0], ledgers[1])
        self.assertTrue(ledgers[0]["matches"])
        self.assertEqual((ledgers[0]["steps"], ledgers[0]["samples_read"]), (10, 80))

    def test_the_ledger_sees_a_run_that_read_other_samples(self):
        for stage, command in STAGES.items():
            with self.subTest(stage=stage):
                self.ok(*command, "--run read", layout="dp2")
                self.assertTrue(json.loads(self.ok("data ledger read"))["matches"])
                os.remove(checkpoint("read", 10))
                self.ok(*command, "--run read --seed 7")
                done = self.run_ulmpi("data ledger read", ranks=2)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertFalse(json.loads(done.stdout)["matches"])
                self.assertIn(b"up to step 1 other samples", done.stderr)
            shutil.rmtree("read")

    def test_a_complete_run_is_left_as_it_is(self):
        for stage, command in STAGES.items():
            with self.subTest(stage=stage):
                self.ok(*command, "--run done")
                before = contents("done")
                self.ok(*command, "--run done")
                self.assertIn("nothing to do", self.said)
                self.assertEqual(before, contents("done"))
            shutil.rmtree("done")

    def test_a_run_killed_before_its_judgement_is_judged(self):
        command = [*STAGES["pretrain"], "--run done"]
        self.ok(*command)
        with open("done/metrics.jsonl") as file:
            lines = file.readlines()
        self.assertEqual(json.loads(lines[-1])["kind"], "valid")
        with open("done/metrics.jsonl", "w") as file:
            file.writelines(lines[:-1])
        self.ok(*command)
        with open("done/metrics.jsonl") as file:
            self.assertEqual(file.readlines(), lines)
        self.ok(*command)
        self.assertIn("nothing to do", self.said)
        shutil.rmtree("done")

    def test_its_configuration_runs_it_again(self):
        for stage, command in STAGES.items():
            with self.subTest(stage=stage):
                self.ok(*command, "--run one", layout="tp2")
                name = [word for word in command[0].split() if not word.startswith("-")][: len(stage.split())]
                ranks, _ = LAYOUTS["tp2"]
                done = self.run_ulmpi([*name, "--config", "one/config.ini", "--run", "two"], ranks=ranks)
                self.assertEqual(done.returncode, 0, done.stderr.decode())
                self.assert_same_bits(checkpoint("one", 10), checkpoint("two", 10))
                self.assertEqual(metrics("one"), metrics("two"))
            shutil.rmtree("one")
            shutil.rmtree("two", ignore_errors=True)


if __name__ == "__main__":
    main()
