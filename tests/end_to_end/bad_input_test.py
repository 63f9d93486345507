"""What cannot be used is refused: one message that names the thing and the mend, the promised exit status, nothing
overwritten, nothing half-written left behind, no rank left running."""
import gzip
import os
import pathlib
import shutil
import signal
import subprocess
import time

from workshop import SHAPE, Workshop, at_once, checkpoint, contents, main, write_corpus

TRAIN = "--global-batch-size 4 --micro-batch-size 2"
PRETRAIN = f"pretrain --data shards --run new --train-steps 2 {TRAIN} {' '.join(SHAPE)}"
CLASSIFIER = f"finetune classifier --init-from lm --run new --epochs 1 {TRAIN}"
# A run looks at its folder behind a lock: cases that go on at once have one each.
LOCKED = 4
FINETUNE = f"finetune lm --init-from lm --run new --train-steps 2 {TRAIN}"

# name: (ranks, command, what the message must say, ...); exit status 2
UNUSABLE = {
    # options
    "misspelt option": (2, PRETRAIN + " --hiden-size 8", "--hiden-size", "did you mean --hidden-size?"),
    "misspelt choice": (1, PRETRAIN + " --lr-schedule cosin", "--lr-schedule", "cosine"),
    "negative steps": (2, PRETRAIN + " --train-steps -5", "--train-steps"),
    "steps without end": (1, PRETRAIN + " --train-steps 1e30", "--train-steps"),
    "no steps": (1, PRETRAIN + " --train-steps 0", "--train-steps", "between 1"),
    "rate that is no number": (1, PRETRAIN + " --lr nan", "--lr"),
    "negative rate": (1, PRETRAIN + " --lr -1", "--lr"),
    "dropout of everything": (1, PRETRAIN + " --dropout 1", "--dropout"),
    "batch of nothing": (1, PRETRAIN + " --global-batch-size 0", "--global-batch-size"),
    "seed out of range": (1, PRETRAIN + " --seed 99999999999999999999999", "--seed"),
    "save interval in weeks": (1, PRETRAIN + " --save-interval 2weeks", "--save-interval", "30m"),
    "two lengths": (2, PRETRAIN + " --epochs 2", "--train-steps, --train-tokens, --epochs"),
    "no length": (2, PRETRAIN.replace("--train-steps 2", ""), "--train-steps, --train-tokens, --epochs"),
    "no run": (1, "pretrain --data shards --train-steps 2", "--run"),
    "no data": (1, "pretrain --run new --train-steps 2", "--data"),
    "configuration that is not there": (1, PRETRAIN + " --config no.ini", "no.ini"),
    "threads without number": (1, PRETRAIN + " --threads-per-rank 100000", "--threads-per-rank"),
    # shapes and layouts
    "heads that do not divide": (2, PRETRAIN + " --num-attention-heads 5", "--num-attention-heads 5", "--hidden-size 32"),
    "rotary heads of odd size": (1, PRETRAIN + " --position-embedding rotary --hidden-size 12", "rotary", "even"),
    "unknown wiring": (1, PRETRAIN + " --layer-postprocess dax", "--layer-postprocess", "'x'"),
    "ranks that do not fill the layout": (2, PRETRAIN + " --tp 3", "--tensor-parallel-size 3", "2 are running"),
    "layout without ranks": (1, PRETRAIN + " --tp 2", "--tensor-parallel-size 2", "mpirun"),
    "slices without heads": (4, PRETRAIN + " --tp 4 --num-attention-heads 2", "--tensor-parallel-size 4", "2 attention heads"),
    "stages without layers": (4, PRETRAIN + " --pp 4", "--pipeline-parallel-size 4", "2 layers"),
    "replicas without sequences": (2, PRETRAIN + " --global-batch-size 1", "--global-batch-size 1", "2"),
    "giant model": (1, PRETRAIN + " --hidden-size 1048576 --num-layers 10000", "needs", "B on a node where it may use", "--tensor-parallel-size"),
    "giant model in slices": (2, PRETRAIN + " --hidden-size 65536 --num-layers 200 --tp 2", "weights", "--micro-batch-size"),
    "giant copies": (2, PRETRAIN + " --hidden-size 65536 --num-layers 200 --pp 2 --save-mode async", "saving 6", "or --save-mode sync"),
    "unknown way of saving": (1, PRETRAIN + " --save-mode later", "--save-mode", "sync, async"),
    "profile nowhere": (2, PRETRAIN + " --profile nowhere/trace.json", "--profile nowhere/trace.json", "folder"),
    "profile over a folder": (1, "bench step --num-layers 1 --hidden-size 8 --num-attention-heads 2 --profile shards", "--profile shards"),
    "unknown precision": (1, PRETRAIN + " --precision fp16", "fp16", "fp32, bf16"),
    "giant batch": (1, PRETRAIN + " --seq-length 4096 --global-batch-size 16777216", "tokens of a step 550 GB", "--global-batch-size"),
    "giant everything": (1, "bench step --num-layers 10000 --hidden-size 1048576 --num-attention-heads 16 --seq-length 4194304 "
                         "--micro-batch-size 1048576 --vocab-size 300", "far more memory", "--micro-batch-size"),
    "giant step": (1, "bench step --num-layers 5000 --hidden-size 16384 --num-attention-heads 16 --seq-length 32 --micro-batch-size 1 --vocab-size 300", "needs"),
    # data commands
    "text that is not there": (1, "data tokenizer --input no.txt --vocab-size 300 --output new.json", "no.txt"),
    "folder for a text": (1, "data tokenizer --input lm --vocab-size 300 --output new.json", "lm"),
    "empty text": (1, "data tokenizer --input empty --vocab-size 300 --output new.json", "empty"),
    "vocabulary below the bytes": (1, "data tokenizer --input corpus.txt --vocab-size 100 --output new.json", "--vocab-size"),
    "tokenizer that is there": (1, "data tokenizer --input corpus.txt --vocab-size 300 --output tokenizer.json", "tokenizer.json"),
    "tokenizer below a file": (1, "data tokenizer --input corpus.txt --vocab-size 300 --output corpus.txt/t.json", "corpus.txt"),
    "broken gzip": (1, "data shards --tokenizer tokenizer.json --input broken.gz --output new", "broken.gz"),
    "broken zstd": (1, "data shards --tokenizer tokenizer.json --input broken.zst --output new", "broken.zst"),
    "unreadable JSON lines": (2, "data shards --tokenizer tokenizer.json --input bad.jsonl --output new", "bad.jsonl", "2"),
    "JSON lines without the key": (1, "data shards --tokenizer tokenizer.json --input keys.jsonl --output new --text-key body", "body"),
    "empty shards": (1, "data shards --tokenizer tokenizer.json --input empty --output new", "empty"),
    "tokenizer that is no JSON": (1, "data shards --tokenizer corpus.txt --input corpus.txt --output new", "corpus.txt"),
    "tokenizer of another kind": (1, "data encode --tokenizer wrong.json --input corpus.txt", "wrong.json"),
    "truncated tokenizer": (1, "data encode --tokenizer cut.json --input corpus.txt", "cut.json"),
    "shards in a full folder": (1, "data shards --tokenizer tokenizer.json --input corpus.txt --output lm", "lm"),
    "shards below a file": (2, "data shards --tokenizer tokenizer.json --input corpus.txt --output corpus.txt/new", "corpus.txt/new"),
    "shards that are not there": (1, "data show no", "no"),
    # token shards
    "no shards": (2, PRETRAIN + " --data nowhere", "nowhere"),
    "folder without shards": (1, PRETRAIN + " --data lm", "lm"),
    "text instead of shards": (2, PRETRAIN + " --data corpus.txt", "corpus.txt"),
    "flipped byte in a shard": (2, PRETRAIN + " --data flipped", "flipped"),
    "truncated shard": (2, PRETRAIN + " --data truncated", "truncated"),
    "missing shard": (1, PRETRAIN + " --data missing", "missing"),
    "too little text for a window": (2, PRETRAIN + " --data short", "short|window|--seq-length", "--seq-length"),
    "shards of another tokenizer": (2, FINETUNE + " --data others", "others", "tokenizer"),
    "validation of another tokenizer": (1, PRETRAIN + " --valid others", "others", "tokenizer"),
    "scoring of another tokenizer": (2, "evaluate --model lm --data others", "others", "tokenizer"),
    # runs and checkpoints
    "no model to start from": (2, FINETUNE.replace("--init-from lm", "--init-from nowhere") + " --data shards", "nowhere"),
    "stage 2 from nothing": (1, "finetune lm --data shards --run new --train-steps 1", "--init-from"),
    "stage 2 from a classifier": (2, FINETUNE.replace("--init-from lm", "--init-from classifier") + " --data shards", "classifier", "language model"),
    "stage 3 from a classifier": (1, CLASSIFIER.replace("--init-from lm", "--init-from classifier") + " --train train.tsv", "classifier", "language model"),
    "flipped byte in a checkpoint": (2, "evaluate --model flipped.h5 --data shards", "flipped.h5"),
    "flipped byte and a start from it": (2, FINETUNE.replace("--init-from lm", "--init-from flipped.h5") + " --data shards", "flipped.h5"),
    "truncated checkpoint": (2, "generate --model truncated.h5 --prompt x", "truncated.h5"),
    "empty checkpoint": (1, "predict --model empty --input lines.txt", "empty"),
    "text as a checkpoint": (1, "generate --model corpus.txt --prompt x", "corpus.txt"),
    "shard as a checkpoint": (1, "generate --model shard.h5 --prompt x", "shard.h5"),
    "folder without checkpoints": (1, "generate --model shards --prompt x", "shards", "checkpoint"),
    "no checkpoint to resume": (2, PRETRAIN + " --resume nowhere.h5", "nowhere.h5"),
    "resume of a damaged checkpoint": (2, PRETRAIN + " --resume flipped.h5", "flipped.h5"),
    "run that is there": (2, PRETRAIN.replace("--run new", "--run lm-1") + " --resume never", "lm", "--resume auto"),
    "run of another command": (2, PRETRAIN.replace("--run new", "--run classifier"), "finetune classifier", "--run"),
    "classifier in a language model's run": (2, CLASSIFIER.replace("--run new", "--run lm-2") + " --train train.tsv", "pretrain", "--run"),
    "stage 2 in the run it starts from": (1, FINETUNE.replace("--run new", "--run lm-3") + " --data shards", "pretrain", "--run"),
    "run of another shape": (2, PRETRAIN.replace("--run new", "--run lm-4") + " --hidden-size 64", "--hidden-size", "32"),
    "shape of another model": (1, CLASSIFIER + " --train train.tsv --num-layers 3", "--num-layers", "2"),
    "run below a file": (2, PRETRAIN.replace("--run new", "--run corpus.txt/new"), "corpus.txt/new"),
    "checkpoints of a text": (1, "checkpoint show corpus.txt", "corpus.txt"),
    # labelled sets
    "no labelled set": (2, CLASSIFIER + " --train no.tsv", "no.tsv"),
    "labelled set without header": (1, CLASSIFIER + " --train header.tsv", "header.tsv", "label<TAB>text"),
    "labelled set without tab": (2, CLASSIFIER + " --train tab.tsv", "tab.tsv", "3", "tab"),
    "labelled set without label": (1, CLASSIFIER + " --train unlabelled.tsv", "unlabelled.tsv", "label is empty"),
    "labelled set of a header": (1, CLASSIFIER + " --train none.tsv", "none.tsv", "no records"),
    "empty labelled set": (1, CLASSIFIER + " --train empty", "'empty' is empty"),
    "single class": (2, CLASSIFIER + " --train single.tsv", "single.tsv", "two"),
    "folder for a labelled set": (1, CLASSIFIER + " --train lm", "lm"),
    "checkpoint for a labelled set": (1, CLASSIFIER + " --train flipped.h5", "flipped.h5"),
    "broken gzip of labels": (2, CLASSIFIER + " --train broken.tsv.gz", "broken.tsv.gz"),
    "unseen label in the test": (2, CLASSIFIER + " --train train.tsv --test unseen.tsv", "unseen.tsv", "'odd'"),
    "unseen label to judge": (1, "evaluate --model classifier --test unseen.tsv", "unseen.tsv", "'odd'"),
    "BatchNorm beyond the context": (2, CLASSIFIER + " --train long.tsv --head-normalization batchnorm", "--head-normalization", "long.tsv has one of 6", "--max-length 32"),
    "classifier of nothing": (1, "finetune classifier --train train.tsv --run new", "--init-from", "--tokenizer"),
    "classifier of two tokenizers": (1, CLASSIFIER + " --train train.tsv --tokenizer tokenizer.json", "--tokenizer"),
    # asking models
    "prompt beyond the context": (2, "generate --model lm --prompt " + "@".join(["house"] * 60), "prompt", "context of 32"),
    "text from a classifier": (2, "generate --model classifier --prompt x", "classifier", "language model"),
    "labels from a language model": (2, "predict --model lm --input lines.txt", "lm", "finetune classifier"),
    "labels of a text that is not there": (2, "predict --model classifier --input no.txt", "no.txt"),
    "labels of a broken text": (2, "predict --model classifier --input broken.gz", "broken.gz"),
    "labels over a text": (1, "predict --model classifier --input lines.txt --output corpus.txt", "corpus.txt"),
    "labels below a file": (2, "predict --model classifier --input lines.txt --output corpus.txt/labels", "corpus.txt/labels"),
    "judging by both": (2, "evaluate --model lm --data shards --test test.tsv", "--data", "--test"),
    "judging by neither": (1, "evaluate --model lm", "--data", "--test"),
    "classifier judged by shards": (2, "evaluate --model classifier --data shards", "classifier", "--test"),
    "language model judged by labels": (1, "evaluate --model lm --test test.tsv", "classifier"),
    "stride beyond the context": (1, "evaluate --model lm --data shards --stride 64", "--stride 64", "32"),
    "temperature below nothing": (1, "generate --model lm --prompt x --temperature -1", "--temperature"),
}


def settled(command):
    """Of an option that stands twice (the program refuses that) the last one is kept."""
    words, last = command.split(), {}
    for place, word in enumerate(words):
        if word.startswith("--"):
            last[word] = place
    kept = [place for place, word in enumerate(words) if not word.startswith("--") or last[word] == place]
    return " ".join(words[p] for p in kept if p == 0 or words[p].startswith("--") or p - 1 in kept)


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 16]) + data[at + 1:]


def damage(source, target, change):
    """A copy of a folder of shards in which `change` is made to the bytes of the first."""
    for name, data in contents(source).items():
        path = pathlib.Path(target) / pathlib.Path(name).relative_to(source)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    shard = sorted(pathlib.Path(target).glob("*.h5"))[0]
    shard.write_bytes(change(shard.read_bytes()))


class BadInput(Workshop):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ok(PRETRAIN.replace("--run new", "--run lm"))
        for number in range(1, LOCKED + 1):
            shutil.copytree("lm", f"lm-{number}")
        cls.ok(CLASSIFIER.replace("--run new", "--run classifier"), "--train train.tsv")
        cls.ok("data tokenizer --input corpus.txt --vocab-size 280 --output other.json")
        cls.ok("data shards --tokenizer other.json --input corpus.txt --output others")
        write_corpus("short.txt", 1)
        cls.ok("data shards --tokenizer tokenizer.json --input short.txt --output short")
        cls.ok("data shards --tokenizer tokenizer.json --input corpus.txt --output missing --shard-tokens 3000")
        sorted(pathlib.Path("missing").glob("*.h5"))[1].unlink()
        damage("shards", "flipped", lambda data: flipped(data, len(data) // 2))
        damage("shards", "truncated", lambda data: data[: len(data) // 2])
        files = {
            "empty": b"",
            "lines.txt": b"the cat\nthe dog\n",
            "broken.gz": gzip.compress(os.urandom(5000))[:3000],
            "broken.zst": b"\x28\xb5\x2f\xfd\x24\x10" + bytes(range(40)),
            "broken.tsv.gz": flipped(gzip.compress(contents("train.tsv".replace("train.tsv", "."))["train.tsv"]), 60),
            "bad.jsonl": b'{"text":"one"}\n{"text":"two\n',
            "keys.jsonl": b'{"text":"one"}\n{"text":"two"}\n',
            "wrong.json": b'{"version":"1.0","model":{"type":"Unigram","vocab":[]}}',
            "cut.json": pathlib.Path("tokenizer.json").read_bytes()[:-200],
            "header.tsv": b"good\ta text\nbad\tanother\n",
            "tab.tsv": b"label\ttext\ngood\ta text\nbad another\n",
            "unlabelled.tsv": b"label\ttext\ngood\ta text\n\tanother\n",
            "none.tsv": b"label\ttext\n",
            "long.tsv": b"label\ttext\ngood\ta\nbad\t" + b"house " * 60 + b"\n",
            "single.tsv": b"label\ttext\ngood\ta\ngood\tb\n",
            "unseen.tsv": b"label\ttext\ngood\ta\nodd\tb\n",
            "shard.h5": sorted(pathlib.Path("shards").glob("*.h5"))[0].read_bytes(),
        }
        whole = pathlib.Path(checkpoint("lm", 2)).read_bytes()
        files["flipped.h5"] = flipped(whole, len(whole) * 2 // 3)
        files["truncated.h5"] = whole[: len(whole) // 2]
        for name, data in files.items():
            pathlib.Path(name).write_bytes(data)

    def setUp(self):
        self.before = contents(".")

    def assert_nothing_left(self, *allowed):
        """No file is new, gone or changed but below `allowed`; no process of ours still runs."""
        after = contents(".")
        odd = [name for name in {*after, *self.before}
               if after.get(name) != self.before.get(name) and not name.startswith(allowed or ("\0",))]
        self.assertEqual(odd, [])
        self.assertEqual([name for name in after if "tmp" in name], [])
        self.assertFalse(os.path.exists("new") and not allowed, "a folder was made")
        deadline = time.time() + 5
        while processes_in(self.folder) and time.time() < deadline:
            time.sleep(0.05)  # mpirun returns before the last rank is reaped
        self.assertEqual(processes_in(self.folder), [])

    def assert_fails(self, done, status, *wanted):
        said = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, status, said)
        messages = [line for line in said.splitlines() if line.startswith(("ulmpi: ", "[rank "))]
        self.assertEqual(len(messages), 1, said)
        for text in wanted:
            self.assertTrue(any(choice in messages[0] for choice in text.split("|")), f"{text!r} in {messages[0]!r}")
        self.assertNotIn("exception", messages[0])
        if status == 2:
            others = [line for line in without_banner(said) if line != messages[0]]
            self.assertTrue(all(line.startswith("note: ") for line in others), others)
        return messages[0]

    def test_what_cannot_be_used_is_refused(self):
        def run(case):
            ranks, command, *_ = case
            words = [word.replace("@", " ") for word in settled(command).split()]
            return self.run_ulmpi(words, ranks=ranks)

        results = at_once(run, UNUSABLE.values(), workers=8)  # mpirun takes 2 s to end a job that failed
        for (name, (_, _, *wanted)), done in zip(UNUSABLE.items(), results):
            with self.subTest(name):
                message = self.assert_fails(done, 2, *wanted)
                print(f"  {name}: {message}")
                self.assertEqual(done.stdout, b"")
        self.assert_nothing_left()
        print(f"{len(results)} cases")

    def test_a_loss_that_is_not_finite_ends_the_run(self):
        for ranks, more in ((1, ""), (2, ""), (2, "--pp 2"), (2, "--tp 2")):
            with self.subTest(ranks=ranks, more=more):
                # PyTorch's blow-up: a rate this large leaves nothing finite after a few updates.
                done = self.run_ulmpi(settled(PRETRAIN + " --lr 1000 --lr-schedule constant --clip-grad 0 --train-steps 200"
                                              " --weight-decay 100 --log-interval 1"), more, ranks=ranks)
                self.assert_fails(done, 1, "step ", "stage ", "not finite", "--lr")
                self.assertEqual(contents("new/checkpoints"), {})
                self.assert_nothing_left("new/")
            subprocess.run(["rm", "-rf", "new"], check=True)

    def test_results_that_cannot_be_written(self):
        asked = ["generate --model lm --prompt x", "evaluate --model lm --data shards",
                 "predict --model classifier --input lines.txt", "checkpoint show lm",
                 "data encode --tokenizer tokenizer.json --input corpus.txt", "data show shards"]
        for command in asked:
            for ranks in (1, 2):
                with self.subTest(command=command, ranks=ranks), open("/dev/full", "wb") as full:
                    if ranks == 2:  # mpirun passes a rank's output on, so a full disk is mpirun's to tell
                        continue
                    self.assert_fails(self.run_ulmpi(command, stdout=full), 1, "standard output", "disk is full")
                    self.assert_nothing_left()

    def limited(self, command, kilobytes, ranks):
        """The limit is set in each rank: mpirun has files of its own."""
        words = [self.mpiexec, "-n", str(ranks), "bash", "-c", f'ulimit -f {kilobytes}; exec "$@"', "-", self.ulmpi]
        environment = dict(self.environment, OMPI_MCA_btl="self,tcp", PMIX_MCA_gds="hash")
        return subprocess.run(words + command.split(), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)

    def test_files_that_cannot_be_written(self):
        """A limit on the size of files stands for a disk that is full."""
        many = pathlib.Path("many.txt")
        many.write_bytes(b"the cat\n" * 3000)
        self.before = contents(".")
        for command, what in (
            ("data tokenizer --input corpus.txt --vocab-size 330 --output new.json", "new.json"),
            ("data shards --tokenizer tokenizer.json --input corpus.txt --output new", "new"),
            ("predict --model classifier --input many.txt --output new.tsv", "new.tsv"),
        ):
            with self.subTest(command):
                self.assert_fails(self.limited(command, 4, 1), 1, what)
                self.assert_nothing_left()
            self.before = contents(".")
        for ranks in (1, 2):
            with self.subTest("checkpoint", ranks=ranks):
                self.assert_fails(self.limited(PRETRAIN, 100, ranks), 1, "checkpoint", "new/checkpoints")
                self.assertEqual(contents("new/checkpoints"), {})
                self.assert_nothing_left("new/")
            subprocess.run(["rm", "-rf", "new"], check=True)
        many.unlink()

    def test_an_input_that_breaks_in_the_middle(self):
        """Beyond the first block of lines: work has begun, so it is no longer bad usage, and no part of the result stays."""
        whole = gzip.compress("".join(f"the cat {number}\n" for number in range(9000)).encode())
        pathlib.Path("middle.gz").write_bytes(whole[:len(whole) * 3 // 4])
        self.before = contents(".")
        for ranks in (1, 2):
            with self.subTest(ranks=ranks):
                self.assert_fails(self.run_ulmpi("predict --model classifier --input middle.gz --output new.tsv", ranks=ranks),
                                  1, "middle.gz")
                self.assert_nothing_left()
        os.remove("middle.gz")

    def test_a_save_in_between_that_fails_is_said_and_the_run_goes_on(self):
        self.ok(PRETRAIN.replace("--train-steps 2", "--train-steps 1"))
        pathlib.Path(checkpoint("new", 2) + "/in the way").mkdir(parents=True)
        self.ok(PRETRAIN.replace("--train-steps 2", "--train-steps 4"), "--save-interval 2 --lr-schedule constant")
        self.assertEqual(self.said.count("could not be saved"), 1)
        self.assertTrue(os.path.isfile(checkpoint("new", 4)))
        self.assert_nothing_left("new/")
        subprocess.run(["rm", "-rf", "new"], check=True)

    def test_a_reader_that_goes_away(self):
        """yes-like output into a pipe whose reader has left."""
        reading, writing = os.pipe()
        os.close(reading)
        done = self.run_ulmpi("data encode --tokenizer tokenizer.json --input corpus.txt", stdout=writing)
        os.close(writing)
        self.assert_fails(done, 1, "standard output")

    def test_a_rank_that_is_killed_takes_the_others_along(self):
        command = [self.mpiexec, "-n", "2", self.ulmpi, *PRETRAIN.replace("--train-steps 2", "--train-steps 1000000").split(), "--log-interval", "1"]
        job = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            deadline = time.time() + 30
            while not os.path.exists("new/metrics.jsonl") or os.path.getsize("new/metrics.jsonl") == 0:
                self.assertLess(time.time(), deadline)
                time.sleep(0.05)
            ranks = [pid for pid, line in processes_in(self.folder) if line.startswith(self.ulmpi)]
            self.assertEqual(len(ranks), 2)
            os.kill(ranks[-1], signal.SIGKILL)
            job.communicate(timeout=30)
            self.assertNotEqual(job.returncode, 0)
        finally:
            job.kill()
            job.communicate()
        self.assert_nothing_left("new/")
        subprocess.run(["rm", "-rf", "new"], check=True)


def without_banner(said):
    """Lines that are not mpirun's (between rules of dashes)."""
    kept, inside = [], False
    for line in said.splitlines():
        if line.startswith("-----"):
            inside = not inside
        elif not inside and line.strip():
            kept.append(line)
    return kept


def processes_in(folder):
    """(id, command line) of the processes that work in this folder, but for this one."""
    found = []
    for process in pathlib.Path("/proc").iterdir():
        try:
            if process.name.isdigit() and int(process.name) != os.getpid() and os.readlink(process / "cwd") == folder:
                found.append((int(process.name), (process / "cmdline").read_bytes().decode().replace("\0", " ")))
        except OSError:
            continue  # gone, or not ours
    return sorted(pair for pair in found if pair[1])


if __name__ == "__main__":
    main()
