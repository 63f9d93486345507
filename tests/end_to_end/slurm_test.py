"""scripts/job.sbatch and ulmpi submit on a real Slurm that scripts/slurm_cluster.sh starts: jobs that are stopped come back
and finish with the bits of a run that was never stopped. Skipped where there is no Slurm or no root.

DAY=slurm in the environment: the user's day with Slurm's own limits of a minute a job (half an hour), instead of
slices of some seconds that --walltime makes."""
import fcntl
import glob
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

from workshop import SHAPE, Workshop, checkpoint, main, metrics, tensors, write_corpus

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"
COMMON = ("--dropout 0.2 --global-batch-size 8 --micro-batch-size 2 --log-interval 500 --threads-per-rank 1 "
          "--lr 3e-3 --lr-schedule constant")
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
if os.geteuid() != 0 or not all(shutil.which(p, path=PATH) for p in ("sbatch", "slurmctld", "slurmd", "munged")):
    print("no Slurm here, or not root: nothing to test")
    sys.exit(77)


class Slurm(Workshop):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        write_corpus("domain.txt", 200, seed=5)
        cls.ok("data shards --tokenizer tokenizer.json --input domain.txt --output domain")
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

    def sbatch(self, run, steps, *options):
        words = f"pretrain --data shards --train-steps {steps} --run {run} {COMMON}".split() + SHAPE
        return self.call(["sbatch", "--parsable", f"--output={run}.log", *options, str(SCRIPTS / "job.sbatch"),
                          *words]).strip()

    def state(self, job):
        told = dict(word.split("=", 1) for word in self.call(["scontrol", "show", "job", "-o", job]).split() if "=" in word)
        return told["JobState"], int(told["Restarts"])

    def wait_for(self, job, run, wanted, seconds=600):
        """Until wanted(state, restarts). A requeue may pass through a bad state."""
        end, bad_for = time.time() + seconds, 0
        while time.time() < end:
            state, restarts = self.state(job)
            if wanted(state, restarts):
                return
            bad_for = bad_for + 1 if state in ("FAILED", "CANCELLED", "NODE_FAIL") else 0
            self.assertLess(bad_for, 15, f"{state}\n{self.log(run)}")
            time.sleep(0.2)
        self.fail(f"job {job} is {self.state(job)}\n{self.log(run)}")

    def log(self, run):
        logs = glob.glob(f"{run}.log") + glob.glob(f"*.jobs/*-{run}.log")
        return pathlib.Path(logs[0]).read_text() if logs else "(no log)"

    def assert_same_run(self, whole, parts, steps):
        a, b = tensors(checkpoint(whole, steps)), tensors(checkpoint(parts, steps))
        self.assertEqual(sorted(a), sorted(b))
        for name, tensor in a.items():
            self.assertEqual(tensor.tobytes(), b[name].tobytes(), name)
        self.assertEqual(metrics(whole), metrics(parts))

    def chain(self, name, slice_of_stage="", submit="", steps=(9000, 9000, 120)):
        """A file of three stages whose runs lie below `name`. The classifier trains for epochs, not steps."""
        pathlib.Path(f"{name}.ini").write_text(f"""
global-batch-size = 8
micro-batch-size = 2
log-interval = 500
threads-per-rank = 1
dropout = 0.2
{slice_of_stage}

[submit]
ranks-per-node = 2
cpus-per-rank = 1
{submit}

[submit.finetune.classifier]
ranks-per-node = 1

[pretrain]
data = shards
valid = shards
train-steps = {steps[0]}
lr = 3e-3
num-layers = 2
hidden-size = 32
num-attention-heads = 4
seq-length = 32
run = {name}/corpus

[finetune.lm]
init-from = {name}/corpus
data = domain
train-steps = {steps[1]}
lr = 1e-3
run = {name}/domain

[finetune.classifier]
init-from = {name}/domain
train = train.tsv
test = test.tsv
epochs = {steps[2]}
run = {name}/classifier
""")
        return f"submit --config {name}.ini"

    def status(self, name):
        return [json.loads(line) for line in self.ok(f"status {name}.jobs").splitlines()]

    def wait_for_chain(self, name, seconds):
        end = time.time() + seconds
        while time.time() < end:
            stages = self.status(name)
            for stage in stages:
                # A job on its way back into the queue may look failed for a moment.
                if "stopped" in stage["state"] and time.sleep(3) is None:
                    again = {s["stage"]: s["state"] for s in self.status(name)}[stage["stage"]]
                    self.assertNotIn("stopped", again, self.log(stage.get("job", "")))
            if all(stage["state"] == "complete" for stage in stages):
                return stages
            time.sleep(0.5)
        self.fail(f"{self.status(name)}\n" + "\n".join(map(self.log, (s.get("job", "") for s in self.status(name)))))

    def run_directly(self, chain, name):
        """The same stages without Slurm, never stopped, in folders below `name`."""
        text = pathlib.Path(f"{chain}.ini").read_text().replace(f"{chain}/", f"{name}/")
        pathlib.Path(f"{name}.ini").write_text("\n".join(l for l in text.splitlines() if "walltime" not in l))
        self.ok(f"pretrain --config {name}.ini", layout="dp2", timeout=900)
        self.ok(f"finetune lm --config {name}.ini", layout="dp2", timeout=900)
        self.ok(f"finetune classifier --config {name}.ini", timeout=900)

    def pace(self):
        """Steps, steps and epochs a second of the stages, on this machine at this hour."""
        self.chain("pace", steps=(1000, 1000, 200))
        self.run_directly("pace", "pace")
        pace = []
        for stage in ("corpus", "domain", "classifier"):
            lines = pathlib.Path(f"pace/{stage}/metrics.jsonl").read_text().splitlines()
            last = [record for record in map(json.loads, lines) if record["kind"] == "train"][-1]
            pace.append(last["tokens_per_s"] * last["step"] / last["tokens"])
        pace[2] /= 5  # 40 texts in batches of 8
        return pace

    def assert_same_chain(self, whole, parts):
        for stage in ("corpus", "domain", "classifier"):
            last = max(glob.glob(f"{whole}/{stage}/checkpoints/step-*.h5"))
            self.assert_same_run(f"{whole}/{stage}", f"{parts}/{stage}", int(last[-11:-3]))

    def test_a_job_that_is_told_to_go_comes_back(self):
        steps = 9000
        whole = self.sbatch("whole", steps)
        self.wait_for(whole, "whole", lambda state, _: state == "COMPLETED")
        job = self.sbatch("parts", steps)
        for stops in range(2):
            self.wait_for(job, "parts", lambda state, restarts: state == "RUNNING" and restarts == stops
                          and self.log("parts").count(f"pretrain: {steps} steps") == stops + 1)
            time.sleep(0.5)
            self.call(["scancel", "--signal=USR1", "--batch", job])
            self.wait_for(job, "parts", lambda _, restarts: restarts == stops + 1)
        self.wait_for(job, "parts", lambda state, _: state == "COMPLETED")
        self.assertEqual(self.log("parts").count("stopped by SIGUSR1"), 2, self.log("parts"))
        self.assert_same_run("whole", "parts", steps)
        self.assertIn('"matches":true', self.ok("data ledger parts").decode())

    def test_a_job_whose_time_ends_comes_back(self):
        """Over its limit of a minute, and on to where it is told to stop: the bits of a run that went there at once."""
        steps = 400000  # more than a minute's; the first start sleeps through most of its own, so that "straight" is short
        late = pathlib.Path("late")
        late.write_text(f'#!/bin/bash\n[ "$SLURM_RESTART_COUNT" ] || sleep 40\n'
                        f'exec "{self.ulmpi}" "$@"\n')
        late.chmod(0o755)
        self.environment["PROGRAM"] = str(late.resolve())
        try:
            job = self.sbatch("long", steps, "--time=1", "--signal=B:USR1@0")
        finally:
            self.environment["PROGRAM"] = self.ulmpi
        self.wait_for(job, "long", lambda state, restarts: restarts == 1 and state == "RUNNING"
                      and self.log("long").count(f"pretrain: {steps} steps") == 2)
        self.assertIn("stopped by the end of the job's time", self.log("long"))
        time.sleep(1)
        self.call(["scancel", "--signal=USR1", "--batch", job])
        self.wait_for(job, "long", lambda _, restarts: restarts == 2)
        self.call(["scancel", job])
        first, last = map(int, re.findall(r"at step (\d+) of", self.log("long")))
        self.assertGreater(last, first)
        words = f"pretrain --data shards --train-steps {last} --run straight {COMMON}"
        self.ok(words, SHAPE, layout="dp2", timeout=900)
        a, b = tensors(checkpoint("straight", last)), tensors(checkpoint("long", last))
        for name, tensor in a.items():
            self.assertEqual(tensor.tobytes(), b[name].tobytes(), name)
        self.assertIn('"matches":true', self.ok("data ledger long").decode())

    def test_a_requeue_in_the_middle_of_saves_and_a_node_that_goes_down(self):
        steps = 1500
        self.ok(f"pretrain --data shards --train-steps {steps} --run quiet {COMMON}", SHAPE, layout="dp2")
        words = f"pretrain --data shards --train-steps {steps} --run hurt --save-interval 2 {COMMON}".split() + SHAPE
        job = self.call(["sbatch", "--parsable", "--output=hurt.log", str(SCRIPTS / "job.sbatch"), *words]).strip()

        def at_work(restarts):
            self.wait_for(job, "hurt", lambda state, r: state == "RUNNING" and r == restarts
                          and self.log("hurt").count("pretrain: 1500 steps") == restarts + 1)
            end = time.time() + 20
            while not glob.glob("hurt/checkpoints/.step-*") and time.time() < end:
                pass

        at_work(0)
        self.call(["scontrol", "requeue", job])
        at_work(1)
        node = self.call(["squeue", "--noheader", "--format=%N", f"--jobs={job}"]).strip()
        self.call(["scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test"])
        try:
            self.wait_for(job, "hurt", lambda state, restarts: restarts == 2 and state == "COMPLETED")
        finally:  # it may have come back by itself
            subprocess.run(["scontrol", "update", f"NodeName={node}", "State=RESUME"], env=self.environment,
                           stderr=subprocess.DEVNULL)
        self.assert_same_run("quiet", "hurt", steps)
        self.assertEqual(glob.glob("hurt/checkpoints/.step-*"), [])
        self.assertIn('"matches":true', self.ok("data ledger hurt").decode())

    def test_a_users_day(self):
        """Three stages are submitted once; each has to come back at least twice; nobody looks after them."""
        by_slurm = os.environ.get("DAY") == "slurm"
        limit = {"submit": "time = 1m\ngrace = 10s"} if by_slurm else {"slice_of_stage": "walltime = 6s"}
        steps = [int((150 if by_slurm else 10) * pace) + 1 for pace in self.pace()]
        for day in "monday", "tuesday", "wednesday", "thursday":  # a machine that is faster now than before needs a longer one
            command = self.chain(day, steps=steps, **limit)
            said = self.ok(command).decode()
            self.assertEqual([json.loads(line)["action"] for line in said.splitlines()], ["submitted"] * 3)
            done = self.run_ulmpi(command)
            self.assertEqual(done.returncode, 2)
            self.assertIn(b"is in the queue already", done.stderr)
            stages = self.wait_for_chain(day, 1800 if by_slurm else 400)
            came_back = [self.log(stage["job"]).count("back into the queue") for stage in stages]
            print(f"{day}: {steps} steps, steps and epochs; jobs came back {came_back} times")
            if min(came_back) >= 2:
                break
            steps = [3 * n if times < 2 else n for n, times in zip(steps, came_back)]
        self.assertGreaterEqual(min(came_back), 2, "\n".join(self.log(stage["job"]) for stage in stages))
        again = [json.loads(line)["action"] for line in self.ok(command).splitlines()]
        self.assertEqual(again, ["complete"] * 3)  # however often they came back
        self.run_directly(day, "night")
        self.assert_same_chain("night", day)
        for run in ("corpus", "domain", "classifier"):
            self.assertIn('"matches":true', self.ok("data ledger", f"{day}/{run}").decode())

    def test_a_folder_with_a_blank_in_its_name(self):
        os.mkdir("my runs")
        command = self.chain("blank", steps=(40, 40, 1))
        text = pathlib.Path("blank.ini").read_text()
        for name in ("shards", "domain", "train.tsv", "test.tsv"):
            text = text.replace(f"= {name}\n", f"= ../{name}\n")
        pathlib.Path("my runs/blank.ini").write_text(text)
        self.ok(command, cwd="my runs")
        end = time.time() + 120
        while True:
            states = [json.loads(line)["state"] for line in self.ok("status blank.jobs", cwd="my runs").splitlines()]
            if states == ["complete"] * 3:
                break
            self.assertLess(time.time(), end, states)
            self.assertFalse([state for state in states if "stopped" in state], glob.glob("my runs/blank.jobs/*"))
            time.sleep(0.5)

    def test_a_stage_under_way_goes_on_whatever_it_began_with(self):
        command = self.chain("never", slice_of_stage="resume = never\nsave-interval = 20", steps=(40, 40, 1))
        self.ok("pretrain --config never.ini", layout="dp2")
        os.remove(checkpoint("never/corpus", 40))
        scripts = self.ok(command, "--dry-run").decode()
        self.assertIn("goes on from step 20", self.said)
        self.assertEqual(scripts.count("resume = never"), 2)  # those of the stages that are to begin

    def test_shards_of_another_tokenizer_are_refused_before_anything_is_submitted(self):
        self.ok("data tokenizer --input domain.txt --vocab-size 300 --output other.json")
        self.ok("data shards --tokenizer other.json --input domain.txt --output foreign")
        command = self.chain("mixed")
        text = pathlib.Path("mixed.ini").read_text()
        pathlib.Path("mixed.ini").write_text(text.replace("data = domain", "data = foreign"))
        done = self.run_ulmpi(command)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn(b"finetune lm: foreign was made with another tokenizer than the model of mixed/corpus", done.stderr)

    def test_what_is_complete_is_not_run_again(self):
        command = self.chain("twice", steps=(300, 100, 3))
        scripts = self.ok(command, "--dry-run").decode()
        self.assertEqual(scripts.count("#!/bin/bash"), 3)
        self.assertFalse(os.path.exists("twice.jobs"))
        os.mkdir("twice.jobs")
        with open("twice.jobs/.lock", "w") as another:  # that submits at the same moment
            fcntl.flock(another, fcntl.LOCK_EX)
            done = self.run_ulmpi(command)
            self.assertEqual(done.returncode, 2)
            self.assertIn(b"wait until that one is done, or give another --jobs", done.stderr)
            self.assertEqual(os.listdir("twice.jobs"), [".lock"])
        elsewhere = dict(self.environment, SBATCH_PARTITION="nowhere", SLURM_RESTART_COUNT="1", SLURM_MEM_PER_CPU="1")
        self.ok(command, env=elsewhere)
        self.assertIn("SBATCH_PARTITION of the environment does not count", self.said)
        first = self.wait_for_chain("twice", 60)
        seen = [json.loads(line) for line in self.ok(f"status {os.path.abspath('twice.jobs')}", cwd="/").splitlines()]
        self.assertEqual([(stage["state"], stage["step"]) for stage in seen], [(s["state"], s["step"]) for s in first])
        silent = dict(self.environment, SLURM_CONF="/nowhere")
        seen = [json.loads(line)["state"] for line in self.ok("status twice.jobs", env=silent).splitlines()]
        self.assertEqual(seen, ["complete"] * 3)
        self.assertIn("Slurm cannot be asked", self.said)
        before = {path: os.stat(path).st_mtime_ns for path in glob.glob("twice/*/checkpoints/*")}

        again = [json.loads(line) for line in self.ok(command).splitlines()]
        self.assertEqual([stage["action"] for stage in again], ["complete"] * 3)
        self.assertEqual([stage["job"] for stage in self.status("twice")], [stage["job"] for stage in first])

        self.ok("data shards --tokenizer tokenizer.json --input domain.txt --output domain --overwrite on")
        again = [json.loads(line) for line in self.ok(command).splitlines()]  # the same data, made again
        self.assertEqual([stage["action"] for stage in again], ["complete"] * 3)

        def edit(old, new):
            file = pathlib.Path("twice.ini")
            file.write_text(file.read_text().replace(old, new))

        edit("epochs = 3", "epochs = 4")  # of the last stage alone
        done = self.run_ulmpi(command)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"--epochs is 4, was 3", done.stderr)
        self.assertEqual(before, {path: os.stat(path).st_mtime_ns for path in glob.glob("twice/*/checkpoints/*")})
        changed = [json.loads(line) for line in self.ok(command, "--set-aside").splitlines()]
        self.assertEqual([stage["action"] for stage in changed], ["complete", "complete", "submitted"])
        self.wait_for_chain("twice", 60)
        self.assertTrue(glob.glob("twice/classifier.old-1/checkpoints/step-*.h5"))

        with open("domain.txt", "a") as text:  # stage 2 has other data, so stage 3 gets another parent
            text.write("one more line of text .\n")
        self.ok("data shards --tokenizer tokenizer.json --input domain.txt --output domain --overwrite on")
        done = self.run_ulmpi(command)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"the fingerprint of --data", done.stderr)
        changed = [json.loads(line) for line in self.ok(command, "--set-aside").splitlines()]
        self.assertEqual([stage["action"] for stage in changed], ["complete", "submitted", "submitted"])
        self.wait_for_chain("twice", 60)


if __name__ == "__main__":
    main()
