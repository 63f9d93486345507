"""A run that is stopped by a signal or by its job's end leaves a checkpoint, says 75, and goes on to the same bits."""
import os
import random
import signal
import subprocess
import time

from workshop import (LAYOUTS, SHAPE, Workshop, at_once, checkpoint, main, metrics, progress, ranks_of, saved_steps, tensors,
                      write_corpus)

COMMON = "--dropout 0.2 --global-batch-size 8 --micro-batch-size 2 --log-interval 1 --threads-per-rank 1 --lr 3e-3"
STAGES = {
    "pretrain": [f"pretrain --data shards --valid shards --eval-interval 6 --train-steps 40 {COMMON}", SHAPE],
    "finetune lm": [f"finetune lm --init-from base --data shards --valid shards --train-steps 40 {COMMON}"],
    "finetune classifier": [f"finetune classifier --init-from base --train train.tsv --valid test.tsv --test test.tsv "
                            f"--epochs 8 --gradual-unfreezing on --eval-interval 7 {COMMON}"],
}
LAST = 40


def lines_of(path):
    try:
        with open(path) as file:
            return file.read().count("\n")
    except OSError:
        return 0


class Stop(Workshop):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ok("pretrain --data shards --train-steps 5", SHAPE, "--run base")

    def start(self, arguments, layout, more_environment={}):
        ranks, options = LAYOUTS[layout]
        words = [word for a in [*arguments, options] for word in (a.split() if isinstance(a, str) else a)]
        command = ([self.mpiexec, "-n", str(ranks)] if ranks > 1 else []) + [self.ulmpi, *words]
        environment = {**self.environment, **more_environment}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def stopped_at(self, arguments, layout, run, lines, which, to_all=False):
        """Runs until the metrics have so many lines, then signals one rank. The status and what was said."""
        ranks, _ = LAYOUTS[layout]
        job = self.start([*arguments, "--run", run], layout)
        while job.poll() is None and (len(ranks_of(job.pid)) < ranks or lines_of(f"{run}/metrics.jsonl") < lines):
            time.sleep(0.002)
        targets = ranks_of(job.pid)
        if targets:
            for process in targets if to_all else [random.choice(targets)]:
                os.kill(process, which)
        _, said = job.communicate(timeout=60)
        return job.returncode, said.decode(errors="replace")

    def assert_same_run(self, whole, parts):
        a, b = tensors(checkpoint(whole, LAST)), tensors(checkpoint(parts, LAST))
        self.assertEqual(sorted(a), sorted(b))
        for name, tensor in a.items():
            self.assertEqual(tensor.tobytes(), b[name].tobytes(), name)
        self.assertEqual(metrics(whole), metrics(parts))
        self.assertEqual(progress(checkpoint(whole, LAST)), progress(checkpoint(parts, LAST)))
        if "best" in progress(checkpoint(whole, LAST)):
            self.assertIn(progress(checkpoint(parts, LAST))["best"]["step"], saved_steps(parts))

    def test_a_signal_to_any_rank_in_any_phase(self):
        cases = [(stage, layout) for stage in STAGES for layout in ("1", "dp2", "tp2", "pp2")]

        def run(case):
            stage, layout = case
            whole, parts = (f"{part}-{cases.index(case)}" for part in ("whole", "parts"))
            arguments = [*STAGES[stage], "--save-interval 4"]
            self.ok(*arguments, "--run", whole, layout=layout)
            total, status, stops, lines = lines_of(f"{whole}/metrics.jsonl"), 75, [], 0
            draw = random.Random(cases.index(case))
            arguments += ["--save-mode", "async" if cases.index(case) % 3 else "sync"]
            while status == 75 and len(stops) < 30:
                which = draw.choice([signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
                status, said = self.stopped_at(arguments, layout, parts, lines, which, to_all=draw.random() < 0.3)
                stops.append((status, which.name, said))
                lines = min(total, max(lines, lines_of(f"{parts}/metrics.jsonl")) + draw.randrange(0, 12))
                if lines == total:
                    lines = total + 1  # to the end
            return whole, parts, stops

        for (stage, layout), (whole, parts, stops) in zip(cases, at_once(run, cases, workers=2)):
            with self.subTest(stage=stage, layout=layout):
                self.assertGreaterEqual(len(stops), 4, [s[:2] for s in stops])
                for status, name, said in stops[:-1]:
                    self.assertEqual(status, 75, said)
                    self.assertIn("stopped by SIG", said)
                self.assertEqual(stops[-1][0], 0, stops[-1][2])
                self.assert_same_run(whole, parts)

    def test_a_wish_that_comes_before_the_run_listens(self):
        """SIGUSR1 from the moment on at which the program's own code runs: kept until it can be heard."""
        for delay in (0, 0.01, 0.03, 0.1):
            with self.subTest(delay=delay):
                job = self.start([*STAGES["pretrain"], f"--run early-{delay}"], "1")
                held = False
                while job.poll() is None and not held:
                    with open(f"/proc/{job.pid}/status") as file:
                        lines = dict(line.split(":", 1) for line in file)
                    held = lines["Name"].strip() == "ulmpi" and bool(
                        (int(lines["SigBlk"], 16) | int(lines["SigCgt"], 16)) >> (signal.SIGUSR1 - 1) & 1)
                time.sleep(delay)
                os.kill(job.pid, signal.SIGUSR1)
                _, said = job.communicate(timeout=60)
                self.assertIn(job.returncode, (75,) if delay < 0.1 else (75, 0), said)  # or it was done by then
                self.assertIn(b"stopped by SIGUSR1" if job.returncode == 75 else b"saved", said)

    def test_the_end_of_the_jobs_time(self):
        arguments = [*STAGES["pretrain"], "--save-interval 7"]
        arguments[0] = arguments[0].replace("--train-steps 40", "--train-steps 4000 --lr-schedule constant")
        os.mkdir("bin")
        with open("bin/squeue", "w") as file:  # what Slurm would say
            file.write('#!/bin/sh\ncase "$*" in *--job=77_3) echo "      0:05";; '
                       '*--job=77) echo "59:00"; echo "1:00:00";; *--job=78) echo "      0:05";; *) exit 1;; esac\n')
        os.chmod("bin/squeue", 0o755)
        job_of_slurm = {"PATH": f"{os.getcwd()}/bin:{os.environ['PATH']}", "SLURM_JOB_ID": "78"}
        of_an_array = {**job_of_slurm, "SLURM_JOB_ID": "77", "SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "3"}
        for walltime, more in (("--walltime 5s", {}), ("", job_of_slurm), ("", of_an_array)):
            with self.subTest(walltime=walltime):
                begin = time.time()
                mode = "--save-mode async" if walltime else "--save-mode sync"
                job = self.start([*arguments, walltime, mode, "--run", "short"], "dp2" if walltime else "1", more)
                _, said = job.communicate(timeout=60)
                self.assertEqual(job.returncode, 75, said)
                self.assertLess(time.time() - begin, 6)
                self.assertIn(b"stopped by the end of the job's time", said)
        steps = [r["step"] for r in metrics("short") if r["kind"] == "train"]
        self.assertEqual(steps, list(range(1, len(steps) + 1)))
        self.ok(STAGES["pretrain"][0], SHAPE, "--run unknown", env={**self.environment, **job_of_slurm, "SLURM_JOB_ID": "79"})
        self.assertIn("squeue does not say how much time job 79 has left", self.said)

    def test_an_evaluation_that_never_fits_is_not_begun_for_ever(self):
        """The first try has its steps and is told to go before it is judged; the second has time for nothing else."""
        write_corpus("large.txt", 60000)
        self.ok("data shards --tokenizer tokenizer.json --input large.txt --output large")
        shape = "--num-layers 4 --hidden-size 256 --num-attention-heads 4 --seq-length 32"
        command = [f"pretrain --data shards --valid large --train-steps 5 {COMMON} {shape}"]
        status, said = self.stopped_at(command, "1", "judged", 5, signal.SIGUSR1)
        self.assertEqual(status, 75, said)
        for walltime, wanted in (("1h", 75), ("9s", 2)):
            with self.subTest(walltime=walltime):
                job = self.start([*command, "--run judged --walltime", walltime], "dp2")
                time.sleep(5)
                os.kill(ranks_of(job.pid)[0], signal.SIGUSR1)
                _, said = job.communicate(timeout=60)
                self.assertEqual(job.returncode, wanted, said)
                self.assertIn(b"stopped by SIGUSR1" if wanted == 75 else b"does not do for anything", said)

    def test_what_goes_on_is_said(self):
        self.ok(*STAGES["pretrain"], "--run origin --save-interval 5 --keep-last 20")
        for resume in (["--resume", checkpoint("origin", 5)], ["--resume never"]):
            command = [STAGES["pretrain"][0].replace("--train-steps 40", "--train-steps 4000"), *resume,
                       *(SHAPE if "never" in resume[0] else [])]
            status, said = self.stopped_at(command, "1", f"said-{len(resume)}", 3, signal.SIGTERM)
            self.assertEqual(status, 75, said)
            self.assertIn("the same command with --resume auto goes on from there", said)

    def test_too_little_time_for_anything_is_refused(self):
        done = self.run_ulmpi(*STAGES["pretrain"], "--run none --walltime 1s", ranks=2)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn(b"ask for more", done.stderr)
        done = self.run_ulmpi(*STAGES["pretrain"], "--run none --walltime soon")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn(b"--walltime soon", done.stderr)


if __name__ == "__main__":
    main()
