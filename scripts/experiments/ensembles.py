"""Rows of the tables for several networks in one file, and for one network that is distilled from them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cells import Bench, Method, Options, Shared, mark
from labelled import Row, write_lines, write_rows
from ours import CLASSIFIER, TRANSFER, Domain, Program

MEMBERS = 3
DISTILLED: list[str] = []  # further options of what is distilled


@dataclass(frozen=True)
class Ensemble(Method):
    program: Program
    domain: Domain

    def definition(self) -> dict[str, Any]:
        return {"members": MEMBERS, "classifier": CLASSIFIER + TRANSFER, "domain": self.domain.folder.name,
                "model": self.program.model_identity}

    def candidates(self, rows: int) -> list[Options]:
        return [{"options": CLASSIFIER + TRANSFER}]

    def prepare(self) -> Shared:
        return self.domain.make()

    def train(self, rows: Path, run: Path, seed: int, bench: Bench, options: list[Any]) -> None:
        bench.run([*self.program.on_ranks(), "finetune", "classifier", "--init-from", self.domain.run(), "--train", rows,
                   "--run", run, *options, "--seed", str(seed)])

    def file(self, options: Options, rows: Path, bench: Bench) -> Path:
        """Of the networks, trained once for these rows and seed."""
        made_from = mark([rows.read_text(encoding="utf-8"), bench.seed, self.definition() | {"of": "ensemble"}])
        folder = self.program.work / "ensembles" / made_from
        if not (folder / "ensemble.h5").exists():
            folder.mkdir(parents=True, exist_ok=True)
            runs = [folder / f"run-{member}" for member in range(MEMBERS)]
            for member, run in enumerate(runs):
                self.train(rows, run, 1 + bench.seed + 100 * member, bench, options["options"])
            bench.run([self.program.executable, "checkpoint", "ensemble", *runs, "--output", folder / "ensemble.h5"])
        return folder / "ensemble.h5"

    def predict(self, options: Options, train: list[Row], texts: list[str], bench: Bench) -> list[str]:
        rows = bench.folder / "rows.tsv"
        write_rows(rows, train)
        return self.program.ask(self.file(options, rows, bench), texts, bench, "--threads-per-rank", "1")


@dataclass(frozen=True)
class Distilled(Ensemble):
    """Of the labelled rows, and of the task's other texts, whose labels nobody looks at."""

    def definition(self) -> dict[str, Any]:
        return super().definition() | {"distilled": DISTILLED}

    def file(self, options: Options, rows: Path, bench: Bench) -> Path:
        return Ensemble(self.program, self.domain).file(options, rows, bench)

    def predict(self, options: Options, train: list[Row], texts: list[str], bench: Bench) -> list[str]:
        rows, more, run = (bench.folder / name for name in ("rows.tsv", "more.txt", "run"))
        write_rows(rows, train)
        labelled = {text for _, text in train}
        others = [text for text in self.domain.texts if text not in labelled]
        write_lines(more, others)
        self.train(rows, run, 1 + bench.seed, bench, [*options["options"], *DISTILLED, "--distill-from", self.file(options, rows, bench),
                                                      *(["--distill-text", more] if others else [])])
        return self.program.ask(run, texts, bench, "--threads-per-rank", "1")
