"""kill -9 of one rank or of all, at random moments and in the middle of saves of either mode: no committed step is lost, the newest
checkpoint is always whole, and the run ends with the bits of one that was left alone.

KILLS in the environment says how many (40 where it says nothing; fewer take shorter runs): KILLS=1000 kill_test.py ULMPI MPIEXEC."""
import glob
import os
import random
import re
import signal
import socket
import subprocess
import time

from workshop import LAYOUTS, SHAPE, Workshop, at_once, checkpoint, main, metrics, tensors

KILLS = int(os.environ.get("KILLS", "40"))
STEPS = min(2500, 25 * KILLS)
COMMAND = (f"pretrain --data shards --train-steps {STEPS} --dropout 0.2 --global-batch-size 8 --micro-batch-size 2 "
           "--log-interval 50 --threads-per-rank 1 --lr 3e-3 --lr-schedule constant --keep-last 2")


def children_of(launcher):
    with open(f"/proc/{launcher}/task/{launcher}/children") as file:
        return [int(word) for word in file.read().split()]


def is_alive(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def newest_step(run):
    steps = [int(re.search(r"step-(\d+)\.h5$", path)[1]) for path in glob.glob(f"{run}/checkpoints/step-*.h5")]
    return max(steps, default=0)


class Kill(Workshop):
    def life(self, run, layout, draw):
        """Starts the run and kills it somewhere. True if it was in the middle of a save, None if it was done before."""
        ranks, options = LAYOUTS[layout]
        mode = draw.choice(["sync", "async"])
        command = [self.ulmpi, *COMMAND.split(), *SHAPE, *options, "--save-interval", "2", "--save-mode", mode,
                   "--run", run]
        if ranks > 1:
            command = [self.mpiexec, "-n", str(ranks)] + command
        job = subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        before = newest_step(run)
        while job.poll() is None and newest_step(run) == before:  # until it is at work
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.3))
        if draw.random() < 0.5:
            while job.poll() is None and not glob.glob(f"{run}/checkpoints/.step-*"):
                pass
        processes = []
        try:
            processes = children_of(job.pid) if ranks > 1 else [job.pid]
            for process in processes if draw.random() < 0.3 else processes and [draw.choice(processes)]:
                os.kill(process, signal.SIGKILL)
        except OSError:
            pass  # it has ended
        _, said = job.communicate(timeout=60)
        end = time.time() + 10
        while any(map(is_alive, processes)) and time.time() < end:  # mpirun may end before the last of its ranks
            time.sleep(0.005)
        if job.returncode == 0:
            return None
        self.assertNotIn(b"[rank", said)  # it was killed, it did not fail
        return bool(glob.glob(f"{run}/checkpoints/.step-*"))

    def test_no_step_is_lost(self):
        layouts = ("1", "dp2", "tp2", "pp2")
        per_layout = KILLS // len(layouts)

        def torment(layout):
            draw, run = random.Random(layout), f"killed-{layouts.index(layout)}"
            whole = f"whole-{layouts.index(layout)}"
            self.ok(COMMAND, SHAPE, "--save-interval 0 --run", whole, layout=layout, timeout=800)
            in_saves, kills, committed, begun = 0, 0, 0, time.time()
            while kills < per_layout:
                in_save = self.life(run, layout, draw)
                if in_save is None:  # finished: once more from an early step
                    for path in glob.glob(f"{run}/checkpoints/*"):
                        os.remove(path)
                    committed = 0
                    continue
                kills, in_saves = kills + 1, in_saves + in_save
                newest = newest_step(run)
                self.assertGreaterEqual(newest, committed)
                self.ok("checkpoint verify", run)
                committed = newest
                if kills % 25 == 0:
                    left = (per_layout - kills) * (time.time() - begun) / kills
                    print(f"{layout}: {kills} of {per_layout} kills, {in_saves} in the middle of a save, "
                          f"{left / 60:.1f} min left", flush=True)
            self.ok(COMMAND, SHAPE, "--save-interval 0 --run", run, layout=layout, timeout=800)
            self.assertEqual(glob.glob(f"{run}/checkpoints/.step-*"), [])
            a, b = tensors(checkpoint(whole, STEPS)), tensors(checkpoint(run, STEPS))
            self.assertEqual(sorted(a), sorted(b))
            for name, tensor in a.items():
                self.assertEqual(tensor.tobytes(), b[name].tobytes(), name)
            self.assertEqual(metrics(whole), metrics(run))
            self.assertIn(b'"matches":true', self.ok("data ledger", run))
            return kills, in_saves

        counts = at_once(torment, layouts, workers=2)
        kills, in_saves = (sum(each) for each in zip(*counts))
        print(f"{kills} kills, {in_saves} of them in the middle of a save")
        self.assertGreaterEqual(3 * in_saves, kills)

    def test_shards_of_the_dead_are_removed(self):
        """Half-written shards of a killed process go with the next one; those of a living one are let be."""
        command = "data shards --tokenizer tokenizer.json --output new --input"

        def begin(pipe):
            os.mkfifo(pipe)
            job = subprocess.Popen([self.ulmpi, *command.split(), pipe], env=self.environment)
            text = open(pipe, "w")  # from here on it waits for what is never written
            self.addCleanup(text.close)
            return job, f".new.tmp-{socket.gethostname()}-{job.pid}"

        def kill(job):
            job.kill()
            job.wait()

        (dead, of_dead), (alive, of_alive) = begin("one"), begin("two")
        kill(dead)
        self.assertTrue(os.path.isdir(of_dead))
        self.ok(command, "corpus.txt")
        self.assertFalse(os.path.isdir(of_dead))
        self.assertTrue(os.path.isdir(of_alive))
        kill(alive)
        self.ok(command, "corpus.txt --overwrite on")
        self.assertEqual(glob.glob(".new*"), [])
        self.assertEqual(sorted(os.listdir("new")), ["shard-00000.h5", "tokenizer.json"])


if __name__ == "__main__":
    main()
