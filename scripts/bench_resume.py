#!/usr/bin/env python3
"""How long a run of GPT-2 small's size needs from the start of its command to the end of its first step, when it goes on
from a checkpoint and when it begins, and how much memory it takes at most. Called by scripts/bench.sh.

usage: bench_resume.py ULMPI FOLDER ROUNDS"""
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time

# 124 M parameters as GPT-2 small has; feed-forward layers hold those of its large vocabulary.
SHAPE = "--num-layers 12 --hidden-size 768 --num-attention-heads 12 --ffn-hidden-size 5184 --seq-length 32"
CHECKPOINT = "kept/checkpoints/step-00000001.h5"
LAYOUTS = {"1 x 2": (1, 2), "2 x 1": (2, 1)}
STARTS = ["from the beginning", "resumed, file in the cache", "resumed, file on the disk"]


def make_data(ulmpi):
    draw = random.Random(1)
    words = "the a cat dog house river walks sings under over with stone tree".split()
    with open("corpus.txt", "w") as out:
        for _ in range(600):
            out.write(" ".join(draw.choices(words, k=12)) + "\n")
    for command in ("data tokenizer --input corpus.txt --vocab-size 330 --output tokenizer.json",
                    "data shards --tokenizer tokenizer.json --input corpus.txt --output shards"):
        subprocess.run([ulmpi, *command.split()], check=True, capture_output=True)


def steps_of(run):
    """The steps that its metrics tell of."""
    try:
        with open(f"{run}/metrics.jsonl") as lines:
            return [json.loads(line)["step"] for line in lines if line.endswith("\n")]
    except FileNotFoundError:
        return []


def start(ulmpi, run, layout, until, save_interval=0):
    """Runs until `until()`, then kills it. Seconds since its command and the ranks' peaks of memory in MB, together."""
    ranks, threads = LAYOUTS[layout]
    command = [ulmpi, *f"pretrain --data shards {SHAPE} --run {run} --train-steps 1000 --lr-schedule constant "
               f"--global-batch-size {ranks} --micro-batch-size 1 --log-interval 1 --threads-per-rank {threads} "
               f"--save-interval {save_interval}".split()]
    if ranks > 1:
        command = ["mpirun", "-n", str(ranks), "--oversubscribe", "--bind-to", "none", *command]
    with open("errors", "w+") as errors:
        begin = time.monotonic()
        job = subprocess.Popen(command, stdout=errors, stderr=errors)
        while not until():
            if job.poll() is not None:
                errors.seek(0)
                sys.exit(f"{' '.join(command)}: status {job.returncode}\n{errors.read()}")
            time.sleep(0.005)
        seconds = time.monotonic() - begin
        processes = [job.pid]
        if ranks > 1:
            with open(f"/proc/{job.pid}/task/{job.pid}/children") as children:
                processes = [int(word) for word in children.read().split()]
        peak = 0
        for process in processes:
            with open(f"/proc/{process}/status") as status:
                peak += next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1000
        for process in processes:
            os.kill(process, signal.SIGKILL)
        job.wait()
    return seconds, peak


def leave_cache(path):
    """Until the next read of this file comes from the disk."""
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def measure(ulmpi, layout, how):
    run = "new"
    if how != STARTS[0]:
        run = "kept"
        with open("kept/metrics.jsonl") as file:
            line = file.readline()
        with open("kept/metrics.jsonl", "w") as file:
            file.write(line)  # of step 1
        (leave_cache if how == STARTS[2] else is_in_cache)(CHECKPOINT)
    try:
        return start(ulmpi, run, layout, lambda: (2 if run == "kept" else 1) in steps_of(run))
    finally:
        subprocess.run(["rm", "-rf", "new"], check=True)


def is_in_cache(path):
    with open(path, "rb") as file:
        while file.read(1 << 24):
            pass


def main():
    ulmpi, folder, rounds = os.path.abspath(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    os.chdir(folder)
    make_data(ulmpi)
    start(ulmpi, "kept", "1 x 2", lambda: os.path.exists(CHECKPOINT), save_interval=1)
    size = os.path.getsize(CHECKPOINT) / 1e6
    found = {(layout, how): [] for layout in LAYOUTS for how in STARTS}
    for _ in range(rounds):
        for (layout, how), measured in found.items():
            measured.append(measure(ulmpi, layout, how))
    print(f"A checkpoint of {size:,.0f} MB; medians of {rounds}.\n")
    print("| ranks x threads | start | seconds to the end of the first step | least to most | peak memory of all ranks, MB |")
    print("|---|---|---|---|---|")
    for (layout, how), measured in found.items():
        seconds, peaks = zip(*measured)
        print(f"| {layout} | {how} | {statistics.median(seconds):.1f} | {min(seconds):.1f} to {max(seconds):.1f} "
              f"| {statistics.median(peaks):,.0f} |")


if __name__ == "__main__":
    main()
