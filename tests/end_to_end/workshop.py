"""What the end-to-end tests share: a folder with toy texts, and the program run in it.

Usage of every test: TEST.py ULMPI MPIEXEC [unittest's own arguments].
"""
import concurrent.futures
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

LAYOUTS = {
    "1": (1, []),
    "dp2": (2, []),
    "tp2": (2, ["--tp", "2"]),
    "pp2": (2, ["--pp", "2"]),
    "dp2 x pp2": (4, ["--pp", "2", "--micro-batch-size", "2"]),
    "tp2 x pp2": (4, ["--tp", "2", "--pp", "2"]),
}

SHAPE = "--num-layers 2 --hidden-size 32 --num-attention-heads 4 --seq-length 32".split()

FILLERS = "the a cat dog house river walks sings under over with stone tree old new water road".split()
MARKERS = {
    "good": "bright happy sunny lovely".split(),
    "bad": "gloomy awful rotten dreadful".split(),
    "plain": "grey usual common middling".split(),
}


def sentence(draw, label, most=14):
    """Words without meaning, a quarter of them replaced by the label's own."""
    words = [draw.choice(FILLERS) for _ in range(draw.randrange(4, most))]
    for _ in range(max(1, len(words) // 4)):
        words[draw.randrange(len(words))] = draw.choice(MARKERS[label])
    return " ".join(words)


def write_corpus(path, lines, seed=1):
    draw = random.Random(seed)
    with open(path, "w") as out:
        for _ in range(lines):
            out.write(sentence(draw, draw.choice(list(MARKERS))) + " .\n")


def write_labelled(path, records, seed, weights=(1, 1, 1)):
    draw = random.Random(seed)
    with open(path, "w") as out:
        out.write("label\ttext\n")
        for _ in range(records):
            label = draw.choices(list(MARKERS), weights)[0]
            out.write(f"{label}\t{sentence(draw, label)}\n")


class Workshop(unittest.TestCase):
    """A test case in a folder of its own, with a tokenizer and shards of a toy corpus made once."""

    ulmpi = mpiexec = folder = None
    maxDiff = None
    heard = threading.local()

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="ulmpi-test-")
        os.chdir(cls.folder)
        cls.environment = dict(
            os.environ,
            OMP_WAIT_POLICY="passive",
            OMPI_ALLOW_RUN_AS_ROOT="1",
            OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
            OMPI_MCA_rmaps_base_oversubscribe="1",
            OMPI_MCA_mpi_yield_when_idle="1",
            OMPI_MCA_hwloc_base_binding_policy="none",
            OMPI_MCA_btl_base_warn_component_unused="0",
            ASAN_OPTIONS="detect_leaks=0",  # of a program with sanitizers: MPI itself leaks
        )
        write_corpus("corpus.txt", 600)
        write_labelled("train.tsv", 40, seed=2)
        write_labelled("test.tsv", 60, seed=3)
        cls.ok("data tokenizer --input corpus.txt --vocab-size 330 --output tokenizer.json")
        cls.ok("data shards --tokenizer tokenizer.json --input corpus.txt --output shards")

    @classmethod
    def tearDownClass(cls):
        os.chdir("/")
        shutil.rmtree(cls.folder)

    @classmethod
    def run_ulmpi(cls, *arguments, ranks=1, input=None, timeout=180, **popen):
        """Words are split at spaces if given as one string. Returns CompletedProcess with bytes."""
        words = [word for a in arguments for word in (a.split() if isinstance(a, str) else a)]
        command = [cls.ulmpi, *words]
        if ranks > 1:
            command = [cls.mpiexec, "-n", str(ranks)] + command
        popen.setdefault("env", cls.environment)
        popen.setdefault("stdout", subprocess.PIPE)
        popen.setdefault("stderr", subprocess.PIPE)
        return subprocess.run(command, input=input if input is not None else b"", timeout=timeout, **popen)

    @classmethod
    def ok(cls, *arguments, layout="1", **more):
        """Runs under a layout; what it printed on standard output, once it has ended well."""
        ranks, options = LAYOUTS[layout]
        done = cls.run_ulmpi(*arguments, options, ranks=ranks, **more)
        if done.returncode != 0:
            raise AssertionError(f"{done.args}: status {done.returncode}\n{done.stderr.decode(errors='replace')}")
        cls.heard.said = done.stderr.decode()
        return done.stdout

    @property
    def said(self):
        """What the last ok() of this thread left on standard error."""
        return self.heard.said

    def assert_close(self, a, b, relative, what):
        self.assertLessEqual(abs(a - b), relative * max(abs(a), abs(b)), f"{what}: {a} and {b}")


def at_once(function, items, workers=3):
    """function(item) of each, a few at a time: most of their time MPI waits for itself. Results in order."""
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return list(pool.map(function, items))


def ranks_of(launcher):
    """Process ids of the ranks: the launcher itself, or what it started."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat") as file:
                name, rest = file.read().rsplit(")", 1)
            with open(f"/proc/{entry}/status") as file:
                caught = [line for line in file if line.startswith("SigCgt")][0]
        except (OSError, IndexError):
            continue
        parent = int(rest.split()[1])
        mask = int(caught.split()[1], 16)
        listens = all(mask >> (which - 1) & 1 for which in (signal.SIGTERM, signal.SIGUSR1))
        if (int(entry) == launcher or parent == launcher) and "ulmpi" in name and listens:
            found.append(int(entry))
    return found


def metrics(run):
    """Records of a run without what depends on the time of day."""
    with open(os.path.join(run, "metrics.jsonl")) as lines:
        records = [json.loads(line) for line in lines]
    for record in records:
        record.pop("tokens_per_s", None)
    return records


def contents(folder):
    """Every file below a folder but its lock: path -> bytes."""
    return {str(path): path.read_bytes() for path in pathlib.Path(folder).rglob("*")
            if path.is_file() and path.name != ".lock"}


def checkpoint(run, step):
    return os.path.join(run, "checkpoints", f"step-{step:08}.h5")


def progress(path):
    """What a checkpoint says of how far it is, without what depends on the time of day."""
    import h5py  # Debian's python3-h5py

    with h5py.File(path, "r") as file:
        found = json.loads(file["metadata"][()])["progress"]
    del found["seconds"]
    return found


def saved_steps(run):
    """Of the complete checkpoints, but those set aside; none may be there in part."""
    names = sorted(name for name in os.listdir(os.path.join(run, "checkpoints")) if ".h5.old-" not in name)
    return [int(name.removeprefix("step-").removesuffix(".h5")) for name in names]


def tensors(path):
    """All tensors and moments of a checkpoint: name -> array."""
    import h5py  # Debian's python3-h5py

    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            found[name] = item[()]

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return found


class TimedResult(unittest.TextTestResult):
    """Says how long each case took."""

    def startTest(self, test):
        super().startTest(test)
        self.began = time.time()

    def addSuccess(self, test):
        unittest.TestResult.addSuccess(self, test)
        self.stream.writeln(f"ok, {time.time() - self.began:.1f} s")


def main():
    Workshop.ulmpi, Workshop.mpiexec = (os.path.abspath(sys.argv[1]), shutil.which(sys.argv[2]))
    runner = unittest.TextTestRunner(verbosity=2, resultclass=TimedResult)
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], testRunner=runner)
