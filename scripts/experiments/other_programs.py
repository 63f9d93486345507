"""Other programs that train in stages as we do."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cells import ROOT, Bench, Method, Options, Records, Shared, mark
from labelled import Row, read_lines, sha256, write_lines, write_rows
from ours import Domain


@dataclass(frozen=True)
class FastaiUlmfit(Method):
    """fastai's own ULMFiT, its AWD-LSTM trained from the same text as our model, in the minutes given for each stage."""
    general: tuple[Path, ...]  # text of stage 1
    minutes: tuple[float, float, float]
    cores: int
    work: Path
    domain: Domain
    environment: Path | None  # None: the one that fastai.sh makes

    def definition(self) -> dict[str, Any]:
        return {"general": [sha256(path) for path in self.general], "domain": self.domain.texts_mark,
                "minutes": self.minutes, "cores": self.cores}

    def fastai(self, stage: str, minutes: float, *arguments: Any) -> list[Any]:
        environment = ["--venv", self.environment] if self.environment else []
        return [ROOT / "scripts/experiments/fastai.sh", *environment, stage, "--minutes", minutes, "--threads", self.cores,
                *arguments]

    def stage(self, folder: Path, *command: Any) -> Shared:
        """A stage is made once; one that was interrupted starts again, for its schedule is as long as its minutes."""
        made = Records(folder / "made.jsonl")
        if not made.all():
            bench, started = Bench(folder, seed=0), time.time()
            bench.run(list(command))
            made.append({"seconds": round(time.time() - started, 1), "commands": bench.commands})
        return Shared(**made.all()[-1])

    def folders(self) -> tuple[Path, Path]:
        """Of the models of stage 1, which other tasks share, and of stage 2; named by what they are made from."""
        definition = self.definition()
        general = mark([definition["general"], self.minutes[0], self.cores])
        domain = mark([general, definition["domain"], self.minutes[1]])
        return self.work / "fastai" / f"general-{general}", self.work / "fastai" / f"{self.domain.task}-{domain}"

    def prepare(self) -> Shared:
        general, domain = self.folders()
        first = self.stage(general, *self.fastai("general", self.minutes[0], "--model", general, "--text", *self.general))
        text = domain / "text.txt"
        if not text.exists():
            write_lines(text, self.domain.texts)
        second = self.stage(domain, *self.fastai("domain", self.minutes[1], "--model", domain, "--from", general,
                                                 "--text", text))
        return Shared(first.seconds + second.seconds, first.commands + second.commands)

    def predict(self, options: Options, train: list[Row], texts: list[str], bench: Bench) -> list[str]:
        rows, asked, said = (bench.folder / name for name in ("rows.tsv", "texts.txt", "said.txt"))
        write_rows(rows, train)
        write_lines(asked, texts)
        bench.run(self.fastai("classify", self.minutes[2], "--from", self.folders()[1], "--train", rows, "--input", asked,
                              "--output", said, "--seed", bench.seed))
        return read_lines(said)
