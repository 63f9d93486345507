"""Cells of a table, the file that holds those that are finished, and the bench on which a method works at one."""

import base64
import fcntl
import hashlib
import json
import os
import re
import shlex
import subprocess
import time
import zlib
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from labelled import Row

ROOT = Path(__file__).resolve().parent.parent.parent
Options = dict[str, Any]


class CommandFailed(RuntimeError):
    """The command, its status and the end of what it said."""


@dataclass(frozen=True)
class Cell:
    task: str
    labels: str  # a number of rows, or "all"
    seed: int  # of the draw and of training
    method: str

    @property
    def name(self) -> str:
        return f"{self.task}/{self.labels}/{self.seed}/{self.method}"


def fingerprint(cell: Cell, definition: dict[str, Any]) -> str:
    """Of everything that a figure is meant to depend on: a finished cell counts as long as this is the same."""
    return mark([asdict(cell), definition])


def mark(value: Any) -> str:
    """Of anything that JSON can say."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def pack(wrong: list[bool]) -> str:
    """A bit a row, so that two methods can be compared row by row later."""
    bits = sum(1 << place for place, one in enumerate(wrong) if one)
    return base64.b64encode(zlib.compress(bits.to_bytes(len(wrong) // 8 + 1, "little"), 9)).decode()


def unpack(packed: str, rows: int) -> list[int]:
    bits = bin(int.from_bytes(zlib.decompress(base64.b64decode(packed)), "little"))[:1:-1]
    return [int(bit) for bit in bits.ljust(rows, "0")]


class Records:
    """A file of JSON lines that only grows, a finished piece of work a line; what was cut off in writing is dropped."""

    def __init__(self, path: Path):
        self.path = path

    def all(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        whole, _, _ = self.path.read_text(encoding="utf-8").rpartition("\n")
        return [json.loads(line) for line in whole.split("\n") if line]

    def find(self, mark: str) -> dict[str, Any] | None:
        """The newest record with this fingerprint."""
        return next((record for record in reversed(self.all()) if record.get("fingerprint") == mark), None)

    def append(self, record: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
            file.write(json.dumps(record).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def clean_environment() -> dict[str, str]:
    """Without options of the program: they stand on the command line, where they are recorded."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ULMPI_")}


@dataclass
class Bench:
    """Where a method works at one cell: a folder of its own, and the commands that it ran there."""
    folder: Path
    seed: int
    test: Path | None = None  # the test file, where its figure is to be reported
    commands: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # of each command
    sure: list[float] = field(default_factory=list)  # probability of each answer, where the method says it

    def run(self, command: list[Any]) -> str:
        """Its standard output. What it says beside goes to a log, whose end is shown when it fails."""
        command = list(map(str, command))
        self.commands.append(shlex.join(command))
        self.folder.mkdir(parents=True, exist_ok=True)
        started = time.time()
        with open(self.folder / "log", "a+b") as log:
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=clean_environment()) as process:
                try:
                    output, _ = process.communicate()
                except BaseException:  # we are told to stop: the program may save, and leaves nothing behind
                    process.terminate()
                    raise
            if process.returncode != 0:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 2000))
                raise CommandFailed(f"{shlex.join(command)}\nended with status {process.returncode}:\n"
                                    f"{log.read().decode(errors='replace')}")
        self.seconds.append(round(time.time() - started, 1))
        return output.decode()

    def result(self, command: list[Any]) -> dict[str, Any]:
        """The line of JSON that a command ends in."""
        return json.loads(self.run(command).splitlines()[-1])


@dataclass(frozen=True)
class Shared:
    """What the cells of a task share was made in so many seconds by these commands."""
    seconds: float = 0
    commands: list[str] = field(default_factory=list)


def portable(command: str, names: dict[str, str]) -> str:
    """Paths of this machine by the names that are given for them."""
    for path, name in names.items():
        command = re.sub(rf"(?<!\S){re.escape(path)}(?=[/\s]|$)", lambda _: name, command)
    return command


class Method:
    """What is compared: trains on labelled rows, says labels."""
    deterministic = False  # whether all seeds say the same where nothing is drawn
    goes_on = False  # whether predict, interrupted and called again on the same bench, goes on from there
    most_folds = 5  # of those that there are: on so many its candidates are tried

    def definition(self) -> dict[str, Any]:
        """What its figures depend on beside the rows: options, candidates, the model that it starts from."""
        return {}

    def of_rows(self, rows: int) -> dict[str, Any]:
        """What they depend on besides at so many labelled rows."""
        return {}

    def candidates(self, rows: int) -> list[Options]:
        """Among which validation chooses, for so many labelled rows; the first wins among equals."""
        return [{}]

    def prepare(self) -> Shared:
        """Makes what all cells of the task share, where it is not there yet."""
        return Shared()

    def predict(self, options: Options, train: list[Row], texts: list[str], bench: Bench) -> list[str]:
        """Trains on the rows, says a label for each text."""
        raise NotImplementedError


def words(options: Options) -> str:
    """As a reader sees them: the program's own options, or names and values."""
    return " ".join(options["options"] if "options" in options else [f"{name} {value}" for name, value in options.items()])


@lru_cache
def commit() -> str:
    """Of the source tree that this process runs, with a + where it was changed since; empty outside a repository."""
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True)
        return done.stdout.strip()
    return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0))}
