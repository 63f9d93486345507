"""The model to start from beside one of the same shape that has read WikiText-2 alone: bits a byte on general text held out
and on WikiText-2's validation text.

WikiText-2's own model is trained by each recipe of ALONE; the best on the validation text itself counts, to its favour.
"""

import argparse
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from cells import ROOT, Bench, CommandFailed, Records, commit, machine, mark, portable
from ours import Program

# Passes over WikiText-2 and options of its model.
ALONE = {f"WikiText-2 alone, {epochs} epochs, dropout {dropout}": ["--epochs", epochs, "--dropout", dropout]
         for epochs, dropout in (("4", "0"), ("8", "0.1"), ("16", "0.2"))}
PRETRAIN = ["--optimizer", "muon", "--lr", "3e-3", "--lr-schedule", "linear", "--warmup-steps", "100", "--adam-beta2", "0.98", "--weight-decay", "0.1",
            "--micro-batch-size", "4", "--global-batch-size", "8", "--threads-per-rank", "1", "--zero-residual-init", "on"]
STRIDE = "64"


def text_of(data: Path, part: str) -> Path:
    return next(path for name in (f"{part}.txt.gz", f"{part}.txt") if (path := data / "wikitext-2" / name).exists())


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="english.sh", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="holds wikitext-2/{train,valid}.txt.gz")
    parser.add_argument("--held-out", type=Path, required=True, metavar="FILE", help="general text that the model has not read")
    parser.add_argument("--init-from", default="english", metavar="MODEL", help="the model (default english)")
    parser.add_argument("--ulmpi", type=Path, default=ROOT / "build/release/ulmpi", metavar="FILE")
    parser.add_argument("--ranks", type=int, default=2, metavar="N")
    parser.add_argument("--work", type=Path, default=ROOT / "runs/experiments", metavar="DIR")
    return parser.parse_args(arguments)


class Comparison:
    def __init__(self, options: argparse.Namespace):
        self.work = options.work.resolve()
        self.program = Program(str(options.ulmpi.resolve()), options.init_from, options.ranks, self.work)
        self.texts = {"general text held out": options.held_out, "WikiText-2, validation": text_of(options.data, "valid")}
        self.train = text_of(options.data, "train")
        self.records = Records(self.work / "language_models.jsonl")
        self.names = {str(self.work): "WORK", self.program.executable: "ulmpi", str(options.data): "DIR",
                      str(options.held_out): "HELD-OUT", options.init_from: "MODEL"}

    def shards(self, text: Path, bench: Bench) -> Path:
        """Tokens of the model's own tokenizer, made once."""
        shards = self.work / "shards" / mark([str(text), self.program.model_identity])
        if not shards.exists():
            bench.run([self.program.executable, "data", "shards", "--tokenizer", self.program.tokenizer(), "--input", text,
                       "--output", shards])
        return shards

    def score(self, name: str, model: Any, bench: Bench, seconds: float) -> None:
        for text, path in self.texts.items():
            shards, started = self.shards(path, bench), time.time()
            found = bench.result([*self.program.on_ranks(), "evaluate", "--model", model, "--data", shards, "--stride", STRIDE])
            self.records.append({
                "model": name, "text": text, "bits_per_byte": found["bits_per_byte"],
                "word_perplexity": found["word_perplexity"], "parameters": self.program.shown["parameters"],
                "training_seconds": round(seconds), "seconds": round(time.time() - started, 1),
                "commands": [portable(command, self.names) for command in bench.commands], **machine(), "commit": commit(),
                "date": time.strftime("%Y-%m-%d"), "fingerprint": mark([name, text, self.program.model_identity])})
            print(f"{name}: {text}: {found['bits_per_byte']:.4f} bits a byte", flush=True)

    def finished(self, name: str) -> bool:
        return all(self.records.find(mark([name, text, self.program.model_identity])) for text in self.texts)

    def alone(self, name: str, options: list[str]) -> None:
        bench, started = Bench(self.work / "english", seed=0), time.time()
        run = bench.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        bench.run([*self.program.on_ranks(), "pretrain", "--data", self.shards(self.train, bench), "--run", run,
                   *self.program.shape(), *PRETRAIN, *options])
        self.score(name, run, bench, time.time() - started)
        shutil.rmtree(bench.folder)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    comparison = Comparison(options)
    try:
        if not comparison.finished(options.init_from):
            comparison.score(options.init_from, options.init_from, Bench(comparison.work / "english", seed=0), 0)
        for name, own in ALONE.items():
            if not comparison.finished(name):
                comparison.alone(name, own)
    except (CommandFailed, ValueError) as problem:
        print(f"english.sh: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
