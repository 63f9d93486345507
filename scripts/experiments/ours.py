"""ulmpi's own rows of the tables: what each runs, and how."""

import hashlib
import json
import subprocess
import time
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cells import Bench, Method, Options, Records, Shared, clean_environment, mark
from labelled import Row, read_lines, read_rows, sha256, write_lines, write_rows

# --- what each method runs: options of the program, to be changed here -------------------------------------------------

# The same for all of them; the rest, epochs by the number of rows among it, is the program's own best recipe.
CLASSIFIER = ["--micro-batch-size", "8", "--threads-per-rank", "1", "--precision", "bf16", "--save-interval", "0"]

TRANSFER: list[str] = []
LAST_LAYER = ["--discriminative-factor", "1000", "--lr", "5e-3"]  # the rest all but stands still
SCRATCH = ["--dropout", "0.2"]
SCRATCH_RATES = [["--lr", rate] for rate in ("5e-4", "1e-3", "2e-3")]

# fit from the model after stage 2, with as many minutes as it wants.
WITH_WORDS = ["--stage-2", "off", "--networks", "2", "--minutes", "10000", "--threads-per-rank", "1", "--precision", "bf16"]
# Where an epoch takes minutes: from so many rows on, so many epochs. Fewer rows get what the program finds best.
WITH_WORDS_EPOCHS = {("imdb", "english"): {500: ["--epochs", "8"], 2000: ["--epochs", "4"], 25000: ["--epochs", "2"]}}

# Stage 2, once a task: passes over its unlabelled text, or tokens of it where a pass takes hours.
DOMAIN = ["--micro-batch-size", "4", "--global-batch-size", "16", "--threads-per-rank", "1", "--precision", "bf16"]
DOMAIN_READING = {"imdb": ["--epochs", "0.5", "--dropout", "0"]}  # 0 is the default now; results stand under these words
DOMAIN_READING_OF = {("imdb", "english"): ["--train-tokens", "3000000"]}  # by a model for which that is too long
OTHER_DOMAIN_READING = ["--epochs", "3"]


@dataclass(frozen=True)
class Recipe:
    start: str  # "domain": the model after stage 2; "general": the one before it; "nothing": its shape alone
    options: list[str]
    candidates: list[list[str]]  # further options, among which validation chooses
    folds: int = 5  # on so many of the folds


RECIPES = {
    "three-stages": Recipe("domain", TRANSFER, [[]]),
    "without-stage-2": Recipe("general", TRANSFER, [[]]),
    "last-layer": Recipe("domain", LAST_LAYER, [[]]),
    "scratch": Recipe("nothing", SCRATCH, SCRATCH_RATES, folds=2),
}

SHAPE = {"layers": "num-layers", "hidden": "hidden-size", "heads": "num-attention-heads", "ffn": "ffn-hidden-size",
         "context": "seq-length", "position": "position-embedding", "normalization": "normalization",
         "activation": "activation", "linear_bias": "linear-bias"}

# -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Program:
    """The program, the model that it starts from, and the folder for what is made once a task."""
    executable: str
    model: str  # a run folder, a checkpoint, or the name of a shipped model
    ranks: int
    work: Path

    def on_ranks(self) -> list[str]:
        return ["mpirun", "-n", str(self.ranks), "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle",
                "0", self.executable]

    @cached_property
    def shown(self) -> dict[str, Any]:
        """What `checkpoint show` says of the model: its file, wherever the program finds it, and its shape."""
        done = subprocess.run([self.executable, "checkpoint", "show", self.model], capture_output=True, text=True,
                              env=clean_environment())
        if done.returncode != 0:
            raise ValueError(f"--init-from {self.model}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    @cached_property
    def model_identity(self) -> str:
        """Of the weights that a run starts from."""
        return sha256(Path(self.shown["path"]))

    def ask(self, model: Path, texts: list[str], bench: Bench, *options: str) -> list[str]:
        """What a classifier says of texts; how sure it is of each stays on the bench."""
        asked, said = bench.folder / "texts.txt", bench.folder / "said.tsv"
        write_lines(asked, texts)
        bench.run([*self.on_ranks(), "predict", "--model", model, "--input", asked, "--output", said, *options])
        rows = [line.split("\t") for line in read_lines(said)[1:]]
        bench.sure = [max(map(float, row[1:])) for row in rows]
        return [row[0] for row in rows]

    def shape(self) -> list[str]:
        """The options of a model of the same shape."""
        return [text for key, option in SHAPE.items() for text in (f"--{option}", as_option(self.shown["model"][key]))]

    def tokenizer(self) -> Path:
        """A file with the tokenizer that the checkpoint holds."""
        import h5py
        path = self.work / f"tokenizer-{self.model_identity[:16]}.json"
        if not path.exists():
            with h5py.File(self.shown["path"]) as checkpoint:
                write_lines(path, [checkpoint["tokenizer"][()].decode()])
        return path


@dataclass(frozen=True)
class Domain:
    """A task's text without labels, and the language model that stage 2 makes of it, once for all cells."""
    program: Program
    task: str
    train_file: Path

    @cached_property
    def texts(self) -> list[str]:
        """What stage 2 may read: the training texts without their labels, and unsup.txt.gz where the task has one."""
        extra = self.train_file.parent / "unsup.txt.gz"
        return [text for _, text in read_rows(self.train_file)] + (read_lines(extra) if extra.exists() else [])

    def options(self) -> list[str]:
        usual = DOMAIN_READING.get(self.task, OTHER_DOMAIN_READING)
        return DOMAIN + DOMAIN_READING_OF.get((self.task, self.program.model), usual)

    @property
    def marked_with(self) -> list[Any]:
        """What else the model depends on."""
        return []

    @cached_property
    def texts_mark(self) -> str:
        return hashlib.sha256("\n".join(self.texts).encode()).hexdigest()

    @cached_property
    def folder(self) -> Path:
        """By a mark of all that the model depends on."""
        made_from = mark([self.program.model_identity, self.options(), self.texts_mark, *self.marked_with])
        return self.program.work / "domain" / f"{self.task}-{made_from}"

    def run(self) -> Path:
        return self.folder / "run"

    def make(self) -> Shared:
        """Where it is not there yet. A run that was interrupted goes on; the seconds are those of all its parts."""
        parts = Records(self.folder / "parts.jsonl")
        if not any(part["whole"] for part in parts.all()):
            started, whole, bench = time.time(), False, Bench(self.folder, seed=0)
            try:
                self.train(bench)
                whole = True
            finally:
                parts.append({"whole": whole, "seconds": round(time.time() - started, 1), "commands": bench.commands})
        made = parts.all()
        return Shared(sum(part["seconds"] for part in made), made[-1]["commands"])

    @property
    def text_file(self) -> Path:
        return self.folder / "text.txt"

    def train(self, bench: Bench) -> None:
        text, shards = self.text_file, self.folder / "shards"
        if not shards.exists():
            write_lines(text, self.texts)
            bench.run([self.program.executable, "data", "shards", "--tokenizer", self.program.tokenizer(), "--input", text,
                       "--output", shards])
        bench.run([*self.program.on_ranks(), "finetune", "lm", "--init-from", self.program.model, "--data", shards,
                   "--run", self.run(), *self.options()])


@dataclass(frozen=True)
class Ours(Method):
    program: Program
    domain: Domain
    recipe: Recipe

    @property
    def most_folds(self) -> int:
        return self.recipe.folds

    def definition(self) -> dict[str, Any]:
        return {"recipe": asdict(self.recipe), "classifier": CLASSIFIER,
                "model": self.program.model_identity,
                "domain": self.domain.folder.name if self.recipe.start == "domain" else None}

    def candidates(self, rows: int) -> list[Options]:
        return [{"options": CLASSIFIER + self.recipe.options + more} for more in self.recipe.candidates]

    def prepare(self) -> Shared:
        return self.domain.make() if self.recipe.start == "domain" else Shared()

    def start(self, bench: Bench) -> list[str]:
        if self.recipe.start == "domain":
            return ["--init-from", str(self.domain.run())]
        if self.recipe.start == "general":
            return ["--init-from", self.program.model]
        return ["--tokenizer", str(self.program.tokenizer()), *self.program.shape()]

    def predict(self, options: Options, train: list[Row], texts: list[str], bench: Bench) -> list[str]:
        rows, run = bench.folder / "rows.tsv", bench.folder / "run"
        write_rows(rows, train)
        bench.run([*self.program.on_ranks(), "finetune", "classifier", *self.start(bench), "--train", rows, "--run", run,
                   *options["options"], "--seed", str(bench.seed + 1)])
        return self.program.ask(run, texts, bench, "--threads-per-rank", "1")


@dataclass(frozen=True)
class WithWords(Method):
    """Three stages by `ulmpi fit` from the model after stage 2: two networks, one of which only tells how much network and
    words count, and a linear model of words."""
    goes_on = True
    program: Program
    domain: Domain

    def epochs(self, rows: int) -> tuple[int, list[str]]:
        """From so many rows on, these options: the step that the rows reach. Below the first it is the first all the same,
        under whose mark results of fewer rows stand; they do not use it."""
        steps = WITH_WORDS_EPOCHS.get((self.domain.task, self.program.model), {0: []})
        reached = max((least for least in steps if least <= rows), default=min(steps))
        return reached, steps[reached]

    def definition(self) -> dict[str, Any]:
        return {"options": WITH_WORDS, "model": self.program.model_identity, "domain": self.domain.folder.name}

    def of_rows(self, rows: int) -> dict[str, Any]:
        return {"epochs": self.epochs(rows)} if self.epochs(rows)[1] else {}

    def candidates(self, rows: int) -> list[Options]:
        least, epochs = self.epochs(rows)
        return [{"options": WITH_WORDS + (epochs if rows >= least else [])}]

    def prepare(self) -> Shared:
        return self.domain.make()

    def predict(self, options: Options, train: list[Row], texts: list[str], bench: Bench) -> list[str]:
        rows, run = bench.folder / "rows.tsv", bench.folder / "run"
        write_rows(rows, train)
        bench.run([*self.program.on_ranks(), "fit", "--init-from", self.domain.run(), "--train", rows, "--run", run,
                   *options["options"], *self.text(), "--seed", str(bench.seed + 1)])
        return self.program.ask(run, texts, bench, "--threads-per-rank", "1")

    def text(self) -> list[str]:
        return []


@dataclass(frozen=True)
class WithPseudoLabels(WithWords):
    """The same, and the words learn from the task's text what the network says of it."""

    def definition(self) -> dict[str, Any]:
        return super().definition() | {"text": self.domain.texts_mark}

    def text(self) -> list[str]:
        return ["--text", str(self.domain.text_file)]


def as_option(value: Any) -> str:
    return ("off", "on")[value] if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Fit(Method):
    """`ulmpi fit`: one command from rows to a classifier, in the minutes given."""
    program: Program
    minutes: float
    text: tuple[str, ...] = ()

    def definition(self) -> dict[str, Any]:
        return {"minutes": self.minutes, "text": [sha256(Path(path)) for path in self.text], "ranks": self.program.ranks,
                "model": self.program.model_identity}

    def candidates(self, rows: int) -> list[Options]:
        return [{"minutes": self.minutes}]

    def predict(self, options: Options, train: list[Row], texts: list[str], bench: Bench) -> list[str]:
        rows, run = bench.folder / "rows.tsv", bench.folder / "run"
        write_rows(rows, train)
        bench.run([*self.program.on_ranks(), "fit", "--train", rows, *(["--test", bench.test] if bench.test else []),
                   *(["--text", *self.text] if self.text else []), "--init-from", self.program.model, "--run", run,
                   "--minutes", str(options["minutes"])])
        return self.program.ask(run, texts, bench)
