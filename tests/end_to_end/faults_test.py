"""Disks that fail: every call of a run that writes fails in its turn. Whatever fails, no damaged file gets a final name,
what was saved stays as it was, the failure is said, and the run goes on or ends with status 1 and can be resumed to the
same bits.

The calls fail by FAULTY_CALLS, the library of tests/checkpoints/faulty_calls.hpp."""
import glob
import os
import re
import shutil
import signal
import subprocess
import time
import zlib

from workshop import LAYOUTS, SHAPE, Workshop, at_once, checkpoint, main, metrics, tensors

STEPS = 3
COMMAND = (f"pretrain --data shards --train-steps {STEPS} --dropout 0.2 --global-batch-size 4 --micro-batch-size 2 "
           "--log-interval 1 --save-interval 1 --keep-last 2 --threads-per-rank 1 --lr 3e-3 --lr-schedule constant")
ENDLESS = COMMAND.replace(f"--train-steps {STEPS}", "--train-steps 1000000").replace("--save-interval 1", "--save-interval 20")
FAULTS = os.environ["FAULTY_CALLS"]


def is_whole(path):
    """Whether a file is what its seal says."""
    with open(path, "rb") as file:
        seal, rest = file.read(512), file.read()
    said = re.search(rb"bytes (\d+)\ncrc32 ([0-9a-f]{8})\n", seal)
    return bool(said) and int(said[1]) == 512 + len(rest) and int(said[2], 16) == zlib.crc32(rest)


class Faults(Workshop):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.whole = {}
        for layout, run in (("1", "whole-1"), ("tp2", "whole-tp2")):
            cls.ok(COMMAND, SHAPE, "--run", run, layout=layout)
            cls.whole[layout] = (tensors(checkpoint(run, STEPS)), metrics(run))

    def run_faulty(self, run, layout, call=None, kind=None, **more):
        """A run with a fault on its last rank."""
        ranks, options = LAYOUTS[layout]
        environment = dict(self.environment, LD_PRELOAD=FAULTS, FAULTY_FOLDER=os.path.abspath(run), **more)
        environment["ASAN_OPTIONS"] += ":verify_asan_link_order=0"
        if ranks > 1:
            environment["FAULTY_RANK"] = str(ranks - 1)
        if call is not None:
            environment.update(FAULTY_CALL=str(call), FAULTY_KIND=kind)
        return self.run_ulmpi(COMMAND, SHAPE, options, "--run", run, ranks=ranks, env=environment)

    def calls(self, layout):
        """What a run calls, in order: (name, path)."""
        log = os.path.abspath("calls")
        done = self.run_faulty("counted", layout, FAULTY_LOG=log)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(log) as lines:
            calls = [tuple(line.rstrip("\n").split(" ", 1)) for line in lines]
        os.remove(log)
        shutil.rmtree("counted")
        return calls

    def assert_in_order(self, run):
        for path in glob.glob(f"{run}/checkpoints/step-*"):
            self.assertTrue(is_whole(path), path)

    def temporaries(self, run):
        return glob.glob(f"{run}/**/.*.tmp-*", recursive=True)

    def endure(self, case):
        """One run with one fault. Its exit status."""
        layout, call, kind = case
        run = f"{kind}-{call}-{layout}"
        done = self.run_faulty(run, layout, call, kind)
        said = done.stderr.decode()
        self.assertIn(done.returncode, (0, 1, 2), said)
        self.assert_in_order(run)
        if kind != "readonly":  # where nothing can be removed
            self.assertEqual(self.temporaries(run), [])
        if kind == "short":
            self.assertEqual(done.returncode, 0, said)
        if done.returncode != 0:
            self.assertRegex(said, f"{run}.*(No space left on device|Input/output error|Read-only file system)")
            self.ok(COMMAND, SHAPE, "--run", run, layout=layout)
            self.assertEqual(self.temporaries(run), [])
        found, records = tensors(checkpoint(run, STEPS)), metrics(run)
        expected, expected_records = self.whole[layout]
        self.assertEqual(sorted(found), sorted(expected))
        for name, tensor in expected.items():
            self.assertEqual(tensor.tobytes(), found[name].tobytes(), name)
        self.assertEqual(records, expected_records)
        shutil.rmtree(run)
        return done.returncode

    def endure_all(self, layout):
        calls = self.calls(layout)
        of_tensors = [n for n, (name, path) in enumerate(calls, 1) if name == "write" and "/.step-" in path]
        # The writes of one save differ in nothing but their place; tests/checkpoints/faulty_save_test.cpp has them all.
        left_out = set(of_tensors) - set(of_tensors[::40])
        turns = [n for n in range(1, len(calls) + 1) if n not in left_out]
        writes = [n for n in turns if calls[n - 1][0] == "write"]
        cases = ([(layout, n, "eio") for n in turns] + [(layout, n, "short") for n in writes] +
                 [(layout, n, kind) for n in turns[::4] for kind in ("full", "readonly")])

        def run(case):
            try:
                return self.endure(case)
            except AssertionError as failure:
                raise AssertionError(f"{case}, {calls[case[1] - 1]}: {failure}") from failure

        statuses = at_once(run, cases)
        print(f"{len(cases)} faults under {layout}: {statuses.count(0)} runs went on, {statuses.count(1)} ended with 1, "
              f"{statuses.count(2)} with 2")
        self.assertGreater(statuses.count(0), 0)

    def test_every_call_of_a_run(self):
        self.endure_all("1")

    def test_every_call_of_the_other_rank(self):
        self.endure_all("tp2")

    def begin(self, run, *more):
        """A run that is at work: it has saved."""
        words = [*ENDLESS.split(), *SHAPE, "--run", run, *more]
        job = subprocess.Popen([self.mpiexec, "-n", "2", self.ulmpi, *words], env=self.environment,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.wait_for(job, f"{run}/checkpoints/step-*.h5")
        return job

    def stop(self, job):
        """Asks its ranks to stop. What the job said."""
        with open(f"/proc/{job.pid}/task/{job.pid}/children") as children:
            for rank in children.read().split():
                os.kill(int(rank), signal.SIGTERM)
        return job.communicate(timeout=30)[1].decode()

    def wait_for(self, job, pattern):
        end = time.time() + 30
        while not glob.glob(pattern):
            self.assertIsNone(job.poll())
            self.assertLess(time.time(), end)
            time.sleep(0.002)

    def test_the_folder_of_checkpoints_is_removed_from_a_run_at_work(self):
        job = self.begin("gone")
        os.rename("gone/checkpoints", "away")
        shutil.rmtree("away")
        self.wait_for(job, "gone/checkpoints/step-*.h5")
        said = self.stop(job)
        self.assertEqual(job.returncode, 75, said)
        self.assert_in_order("gone")
        self.ok("checkpoint verify gone")
        self.assertEqual(self.temporaries("gone"), [])
        shutil.rmtree("gone")

    def test_the_folder_of_a_run_at_work_is_removed(self):
        job = self.begin("lost")
        os.rename("lost", "away")
        shutil.rmtree("away")
        time.sleep(0.3)
        said = self.stop(job)
        self.assertEqual(job.returncode, 1, said)
        self.assertRegex(said, "the last checkpoint could not be saved: .*lost/checkpoints/.*No such file or directory")
        self.assertFalse(os.path.exists("lost"))

    def test_a_folder_that_may_not_be_written(self):
        os.chmod(self.folder, 0o755)
        self.ok(COMMAND, SHAPE, "--run kept")
        os.remove(checkpoint("kept", STEPS))
        nobody = {"user": 65534, "group": 65534} if os.getuid() == 0 else {}
        for path in ("kept", "kept/checkpoints"):
            os.chmod(path, 0o555)
        done = self.run_ulmpi(COMMAND, SHAPE, "--run kept", **nobody)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertRegex(done.stderr.decode(), "kept/.lock.*Permission denied")
        os.chmod("kept", 0o777)
        os.chmod("kept/.lock", 0o666)
        os.chmod("kept/metrics.jsonl", 0o666)
        done = self.run_ulmpi(COMMAND, SHAPE, "--run kept", **nobody)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr.decode(), "kept/checkpoints/.*Permission denied")
        self.assertEqual(os.listdir("kept/checkpoints"), ["step-00000002.h5"])


if __name__ == "__main__":
    main()
