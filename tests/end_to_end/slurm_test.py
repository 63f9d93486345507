"""scripts/job.sbatch on a real Slurm that scripts/slurm_cluster.sh starts: jobs that are stopped come back and finish with
the bits of a run that was never stopped. Skipped where there is no Slurm or no root."""
import os
import pathlib
import shutil
import subprocess
import sys
import time

from workshop import SHAPE, Workshop, checkpoint, main, metrics, tensors

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"
COMMON = "--dropout 0.2 --global-batch-size 8 --micro-batch-size 2 --log-interval 500 --threads-per-rank 1 --lr 3e-3"
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
if os.geteuid() != 0 or not all(shutil.which(p, path=PATH) for p in ("sbatch", "slurmctld", "slurmd", "munged")):
    print("no Slurm here, or not root: nothing to test")
    sys.exit(77)


class Slurm(Workshop):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.cluster = f"{cls.folder}/cluster"
        cls.environment["PATH"] = PATH
        os.chmod(cls.folder, 0o755)
        cls.call([str(SCRIPTS / "slurm_cluster.sh"), "start", "--folder", cls.cluster])
        cls.environment["SLURM_CONF"] = f"{cls.cluster}/slurm.conf"
        cls.environment["PROGRAM"] = cls.ulmpi

    @classmethod
    def tearDownClass(cls):
        cls.call([str(SCRIPTS / "slurm_cluster.sh"), "stop", "--folder", cls.cluster])
        super().tearDownClass()

    @classmethod
    def call(cls, command):
        done = subprocess.run(command, env=cls.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        if done.returncode != 0:
            raise AssertionError(f"{command}: {done.stdout.decode()}")
        return done.stdout.decode()

    def submit(self, run, steps, *options):
        words = f"pretrain --data shards --train-steps {steps} --run {run} {COMMON}".split() + SHAPE
        return self.call(["sbatch", "--parsable", f"--output={run}.log", *options, str(SCRIPTS / "job.sbatch"),
                          *words]).strip()

    def state(self, job):
        told = dict(word.split("=", 1) for word in self.call(["scontrol", "show", "job", "-o", job]).split() if "=" in word)
        return told["JobState"], int(told["Restarts"])

    def wait_for(self, job, run, wanted, seconds=120):
        """Until wanted(state, restarts); a job that waits for its turn again is let go at once."""
        end, bad_for = time.time() + seconds, 0
        while time.time() < end:
            state, restarts = self.state(job)
            if wanted(state, restarts):
                return
            if state == "PENDING" and restarts > 0:
                subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], env=self.environment,
                               stderr=subprocess.DEVNULL)
            bad_for = bad_for + 1 if state in ("FAILED", "CANCELLED", "NODE_FAIL") else 0
            self.assertLess(bad_for, 15, f"{state}\n{self.log(run)}")  # a requeue may pass through such a state
            time.sleep(0.2)
        self.fail(f"job {job} is {self.state(job)}\n{self.log(run)}")

    def log(self, run):
        return pathlib.Path(f"{run}.log").read_text() if os.path.exists(f"{run}.log") else "(no log)"

    def assert_same_run(self, whole, parts, steps):
        a, b = tensors(checkpoint(whole, steps)), tensors(checkpoint(parts, steps))
        self.assertEqual(sorted(a), sorted(b))
        for name, tensor in a.items():
            self.assertEqual(tensor.tobytes(), b[name].tobytes(), name)
        self.assertEqual(metrics(whole), metrics(parts))

    def test_a_job_that_is_told_to_go_comes_back(self):
        steps = 15000
        whole = self.submit("whole", steps)
        self.wait_for(whole, "whole", lambda state, _: state == "COMPLETED")
        job = self.submit("parts", steps)
        for stops in range(2):
            self.wait_for(job, "parts", lambda state, restarts: state == "RUNNING" and restarts == stops
                          and self.log("parts").count("pretrain: 15000 steps") == stops + 1)
            time.sleep(0.5)
            self.call(["scancel", "--signal=USR1", "--batch", job])
            self.wait_for(job, "parts", lambda _, restarts: restarts == stops + 1)
        self.wait_for(job, "parts", lambda state, _: state == "COMPLETED")
        self.assertEqual(self.log("parts").count("stopped by SIGUSR1"), 2, self.log("parts"))
        self.assert_same_run("whole", "parts", steps)
        self.assertIn('"matches":true', self.ok("data ledger parts").decode())

    def test_a_job_whose_time_ends_comes_back(self):
        steps = 400000  # more than a minute
        job = self.submit("long", steps, "--time=1", "--signal=B:USR1@0")
        self.wait_for(job, "long", lambda _, restarts: restarts == 1)
        self.call(["scancel", job])
        self.assertIn("stopped by the end of the job's time", self.log("long"))
        self.ok("checkpoint verify long")


if __name__ == "__main__":
    main()
