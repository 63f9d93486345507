"""One training step beside PyTorch's on this machine, in turns, medians over the rounds. Prints a table in Markdown.

PyTorch gets its better setting: before the rounds of a row eager and torch.compile are each measured once, and the
faster one takes part. The two never run at the same time; the machine should have nothing else to do."""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

SHAPES = {"small": {"layers": 6, "width": 512, "heads": 8, "context": 256, "batch": 8, "vocabulary": 8192},
          "gpt2": {"layers": 12, "width": 768, "heads": 12, "context": 512, "batch": 4, "vocabulary": 50257},
          "awd-lstm": {"layers": 3, "embedding": 400, "width": 1152, "context": 70, "batch": 32, "vocabulary": 8192}}
OURS = {"layers": "num-layers", "embedding": "embedding-size", "width": "hidden-size", "heads": "num-attention-heads", "context": "seq-length",
        "batch": "micro-batch-size", "vocabulary": "vocab-size"}


def run(command: list[str]) -> dict[str, Any]:
    """The line of JSON that ends its standard output. Settings of BLAS are each program's own choice."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        sys.exit(f"step.sh: failed: {shlex.join(command)}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().split("\n")[-1])


def ours(ulmpi: str, shape: dict[str, int], precision: str, ranks: int, threads: int, steps: int) -> list[str]:
    start = ["mpirun", "-n", str(ranks), "--oversubscribe", "--bind-to", "none"] if ranks > 1 else []
    options = [word for name, value in shape.items() for word in (f"--{OURS[name]}", str(value))]
    if "embedding" in shape:
        options += ["--architecture", "awd-lstm"]
    return [*start, ulmpi, "bench", "step", *options, "--threads-per-rank", str(threads), "--precision", precision,
            "--steps", str(steps)]


def theirs(shape: dict[str, int], precision: str, ranks: int, threads: int, steps: int, compiled: bool) -> list[str]:
    options = [word for name, value in shape.items() for word in (f"--{name}", str(value))]
    return [sys.executable, "-B", str(HERE / "torch_step.py"), *options, "--threads", str(threads), "--ranks", str(ranks),
            "--precision", precision, "--steps", str(steps), *(["--compile"] if compiled else [])]


def compare(options: argparse.Namespace, shape: dict[str, int], precision: str, ranks: int, threads: int) -> str:
    """A row of the table. On several ranks a replica has the whole batch of the shape divided by their number."""
    shape = shape | {"batch": shape["batch"] // ranks}
    mine, peer = [], []
    how = (shape, precision, ranks, threads, options.steps)
    tried = {compiled: run(theirs(*how, compiled)) for compiled in (False, True)}
    faster = max(tried, key=lambda compiled: tried[compiled]["tokens_per_s"])
    for number in range(options.rounds):
        mine.append(run(ours(options.ulmpi, *how)))
        peer.append(run(theirs(*how, faster)))
        print(f"round {number + 1} of {options.rounds}: {mine[-1]['tokens_per_s']:.0f} and {peer[-1]['tokens_per_s']:.0f} "
              f"tokens/s", file=sys.stderr)
    speed = statistics.median(one["tokens_per_s"] for one in mine)
    ratio = speed / statistics.median(one["tokens_per_s"] for one in peer)
    memory = statistics.median(one["peak_mb"] for one in mine) / statistics.median(one["peak_mb"] for one in peer)
    shares = [one["instruction_peak_share"] for one in mine if "instruction_peak_share" in one]
    share = f"{statistics.median(shares):.2f}" if shares else ""
    size = (f"{shape['layers']} layers, width {shape['width']}, {shape['context']} tokens, batch {shape['batch'] * ranks}, "
            f"vocabulary {shape['vocabulary']:,}")
    return (f"| {size} | {precision} | {ranks} × {threads} | {speed:,.0f} | {ratio:.2f} "
            f"({'compiled' if faster else 'eager'}) | {share} | {memory:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(prog="step.sh", description=__doc__)
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--ranks", nargs="+", type=int, default=[1], help="the cores are dealt to so many; data parallel")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="timed in a round, after two that are not")
    parser.add_argument("--ulmpi", default=str(ROOT / "build/release/ulmpi"), metavar="FILE", help="the program")
    options = parser.parse_args()
    for shape in options.shape:
        for ranks in options.ranks:
            if ranks < 1 or SHAPES[shape]["batch"] % ranks != 0:
                parser.error(f"--ranks {ranks}: the {SHAPES[shape]['batch']} sequences of {shape} are not dealt evenly")
    import torch
    cores = len(os.sched_getaffinity(0))
    print(f"PyTorch {torch.__version__}, {cores} cores, medians of {options.rounds} rounds in turns\n")
    print("| shape | precision | ranks × threads | tokens/s | ÷ PyTorch's | of the instruction peak | "
          "peak memory ÷ PyTorch's |\n|---|---|---|---|---|---|---|", flush=True)
    for shape in options.shape:
        for precision in options.precision:
            for ranks in options.ranks:
                print(compare(options, SHAPES[shape], precision, ranks, max(1, cores // ranks)), flush=True)


if __name__ == "__main__":
    main()
