"""Saves in the background write what saves that wait write; what stays of them; what happens when they fail."""
import glob
import json
import os
import resource
import shutil

from workshop import LAYOUTS, SHAPE, Workshop, at_once, checkpoint, main, metrics, progress, saved_steps, tensors

PRETRAIN = ("pretrain --data shards --valid shards --global-batch-size 8 "
            "--dropout 0.2 --threads-per-rank 1 --log-interval 1 --lr-schedule constant")
FULL = f"{PRETRAIN} --train-steps 12 --lr 3e-3 --eval-interval 3 --save-interval 2 --keep-last 100"
PLAIN = FULL.replace("--eval-interval 3", "")
# So fast that the loss goes up and down.
RESTLESS = f"{PRETRAIN} --lr 0.3 --eval-interval 2"
# Faster and faster, until nothing is learned any more: the last step is not the best, whatever the machine.
WORSE_AND_WORSE = f"{PRETRAIN} --lr 3 --warmup-steps 28 --eval-interval 2"


def best_of(run, last=10**9):
    """The first evaluation with the lowest loss."""
    return min((r["loss"], r["step"]) for r in metrics(run) if r["kind"] == "valid" and r["step"] <= last)


class Saves(Workshop):
    def assert_same_checkpoints(self, a, b):
        self.assertEqual(saved_steps(a), saved_steps(b))
        for step in saved_steps(a):
            self.assertEqual(progress(checkpoint(a, step)), progress(checkpoint(b, step)))
            one, other = tensors(checkpoint(a, step)), tensors(checkpoint(b, step))
            self.assertEqual(sorted(one), sorted(other))
            for name, tensor in one.items():
                self.assertEqual(tensor.tobytes(), other[name].tobytes(), f"{name} of step {step}")
        self.assertEqual(metrics(a), metrics(b))
        self.assertIn(b'"matches":true', self.ok("data ledger", b))

    def test_in_the_background_or_not(self):
        def run(layout):
            sync, background, parts = (f"{name}-{list(LAYOUTS).index(layout)}" for name in ("sync", "async", "parts"))
            self.ok(FULL, SHAPE, "--run", sync, layout=layout)
            self.ok(FULL, SHAPE, "--save-mode async --run", background, layout=layout)
            said = self.said
            shutil.copytree(background, parts)
            for step in saved_steps(parts):
                if step > 7:
                    os.remove(checkpoint(parts, step))
            self.ok("pretrain --data shards --valid shards --run", parts, layout=layout)  # async is the checkpoint's
            return sync, background, parts, said

        for layout, (sync, background, parts, said) in zip(LAYOUTS, at_once(run, LAYOUTS)):
            with self.subTest(layout=layout):
                self.assertEqual(saved_steps(sync), [2, 3, 4, 6, 8, 9, 10, 12])
                self.assert_same_checkpoints(sync, background)
                self.assert_same_checkpoints(sync, parts)
                self.assertRegex(said, r"saved \d+ checkpoints of .*/s; in the background: steps waited .* s for each; "
                                       "their copies take")

    def test_what_stays(self):
        for mode in ("sync", "async"):
            with self.subTest(mode=mode):
                self.ok(WORSE_AND_WORSE, SHAPE, "--train-steps 28 --keep-last 1 --keep-every 8 --save-interval 4 --run", mode,
                        "--save-mode", mode)
                said = self.said
                loss, step = best_of(mode)
                self.assertLess(step, 28, "the last step should not be the best, or this test proves less")
                self.assertEqual(saved_steps(mode), sorted({8, 16, 24, step, 28}))
                self.assertEqual(json.loads(self.ok("checkpoint show", mode))["progress"]["best"],
                                 {"step": step, "loss": loss})
                self.assertIn(f"best: validation loss {loss:.4f} at step {step}, kept as {checkpoint(mode, step)}", said)

    def test_the_best_outlives_restarts(self):
        arguments = [RESTLESS, SHAPE, "--keep-last 1 --save-interval 0 --save-mode async --run best"]
        for last, layout in ((10, "1"), (17, "dp2"), (26, "tp2"), (29, "pp2")):
            self.ok(*arguments, f"--train-steps {last}", layout=layout)
            loss, step = best_of("best", last)
            self.assertEqual(progress(checkpoint("best", last))["best"], {"step": step, "loss": loss})
            self.assertEqual(saved_steps("best"), sorted({step, last}))

    # Killed after an evaluation was written, before the checkpoint that would have said that it is the best.
    def test_an_evaluation_that_its_checkpoint_does_not_know_of(self):
        arguments = [PRETRAIN, SHAPE, "--lr 3e-3 --save-interval 0 --keep-last 100"]
        self.ok(*arguments, "--run whole --train-steps 12 --eval-interval 4")
        self.ok(*arguments, "--run parts --train-steps 8")
        with open("parts/metrics.jsonl", "w") as out, open("whole/metrics.jsonl") as lines:
            for line in lines:
                if json.loads(line)["step"] <= 8:
                    out.write(line)
        self.assertNotIn("best", progress(checkpoint("parts", 8)))
        self.ok(*arguments, "--run parts --train-steps 12 --eval-interval 4")
        self.assertEqual(progress(checkpoint("parts", 8))["best"], progress(checkpoint("whole", 8))["best"])
        self.assertEqual(metrics("whole"), metrics("parts"))

    # The same after the last step: nothing is left to train, and the evaluation is not made again.
    def test_a_last_evaluation_that_its_checkpoint_does_not_know_of(self):
        arguments = [PRETRAIN, SHAPE, "--lr 3e-3 --save-interval 0 --keep-last 100 --train-steps 8"]
        for layout in ("1", "dp2"):
            with self.subTest(layout=layout):
                whole, parts = f"whole-last-{layout}", f"parts-last-{layout}"
                self.ok(*arguments, "--eval-interval 4 --run", whole, layout=layout)
                self.ok(*arguments, "--run", parts, layout=layout)
                shutil.copy(f"{whole}/metrics.jsonl", f"{parts}/metrics.jsonl")
                for _ in range(2):
                    self.ok(*arguments, "--eval-interval 4 --run", parts, layout=layout)
                    self.assertEqual(progress(checkpoint(parts, 8))["best"], progress(checkpoint(whole, 8))["best"])
                    self.assertEqual(metrics(whole), metrics(parts))
                self.assertIn("nothing to do", self.said)

    def test_a_save_that_fails_is_said_and_the_run_goes_on(self):
        for mode in ("sync", "async"):
            with self.subTest(mode=mode):
                run = f"hindered-{mode}"
                os.makedirs(checkpoint(run, 4) + "/a-folder-in-its-place")
                self.ok(PLAIN, SHAPE, "--run", run, "--save-mode", mode, layout="dp2")
                said = self.said
                self.assertRegex(said, r"note: the checkpoint of step 4 could not be saved \(.*rename.*the run goes on")
                self.assertIn("saved 5 checkpoints", said)
                self.assertIn("; 1 failed", said)
                os.rmdir(checkpoint(run, 4) + "/a-folder-in-its-place")
                os.rmdir(checkpoint(run, 4))
                self.assertEqual(saved_steps(run), [2, 6, 8, 10, 12])
                self.ok("checkpoint verify", run)

    def test_the_last_one_must_succeed(self):
        limit = 16_000_000  # MPI's own files are allowed, those of 19 MB are not
        shape = [word.replace("32", "256") for word in SHAPE]
        for mode in ("sync", "async"):
            with self.subTest(mode=mode):
                run = f"full-{mode}"
                done = self.run_ulmpi(PLAIN, shape, "--run", run, "--save-mode", mode,
                                      preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
                self.assertEqual(done.returncode, 1, done.stderr)
                for step in (2, 4, 6, 8, 10):
                    self.assertIn(b"note: the checkpoint of step %d could not be saved" % step, done.stderr)
                self.assertRegex(done.stderr, b"ulmpi: the last checkpoint could not be saved.*; the run has no other\n")
                self.assertNotIn(b"MPI_ABORT", done.stderr)
                self.assertEqual(glob.glob(f"{run}/checkpoints/.*"), [])
                self.assertEqual(saved_steps(run), [])


if __name__ == "__main__":
    main()
