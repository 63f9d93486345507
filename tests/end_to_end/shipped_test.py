"""A model of weights alone that comes with the program: made by checkpoint slim, installed beside a copy of the program,
found by name from any folder, read under every layout; never resumed, never replaced by a start from scratch."""
import hashlib
import json
import os
import shutil

from workshop import LAYOUTS, SHAPE, Workshop, at_once, checkpoint, main, metrics

TRAIN = "--global-batch-size 8 --log-interval 1 --threads-per-rank 1"
MODELS = "installed/share/ulmpi/models"
TINY = f"{MODELS}/tiny/tiny.h5"


def ship(source, name):
    """Puts a copy where the installed program looks for it, with its checksum."""
    os.makedirs(f"{MODELS}/{name}")
    shutil.copy(source, f"{MODELS}/{name}/{name}.h5")
    with open(source, "rb") as model, open(f"{MODELS}/{name}/SHA256SUMS", "w") as sums:
        sums.write(f"{hashlib.sha256(model.read()).hexdigest()}  {name}.h5\n")


class Shipped(Workshop):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ok(f"pretrain --data shards --train-steps 12 --lr 3e-3 {TRAIN} --run lm", SHAPE)
        cls.ok("checkpoint slim lm --output slim.h5")
        os.makedirs("installed/bin")
        cls.ulmpi = shutil.copy(cls.ulmpi, os.path.abspath("installed/bin/ulmpi"))
        ship("slim.h5", "tiny")

    def refused(self, *arguments, ranks=1):
        """What it says; nothing has begun."""
        done = self.run_ulmpi(*arguments, ranks=ranks)
        said = done.stderr.decode()
        self.assertEqual(done.returncode, 2, said)
        self.assertFalse(os.path.exists("new"))
        return said

    def test_the_file(self):
        shown = json.loads(self.ok("checkpoint show tiny"))
        self.assertEqual((shown["precision"], shown["moments"], shown["slim"]), ("fp16", False, True))
        self.assertEqual(shown["path"], os.path.realpath(TINY))
        self.assertEqual(shown["lineage"], json.loads(self.ok("checkpoint show lm"))["lineage"])
        self.assertLess(shown["bytes"], 2 * shown["parameters"] + shown["tokenizer_bytes"] + 1024 * shown["tensors"] + 16384)
        self.assertTrue(json.loads(self.ok("checkpoint verify tiny"))["ok"])

    def test_it_judges_as_the_whole_one_does(self):
        whole, tiny = (json.loads(self.ok(f"evaluate --data shards --model {model}")) for model in ("lm", "tiny"))
        self.assert_close(whole["loss"], tiny["loss"], 1e-3, "loss")
        self.assertIn("which comes with the program", self.said)
        self.assertTrue(self.ok("generate --model tiny --prompt the --max-tokens 5").decode().startswith("the"))

    def test_every_layout_starts_from_it_alike(self):
        def train(layout):
            run = layout.replace(" ", "")
            self.ok(f"finetune lm --init-from tiny --data shards --train-steps 3 {TRAIN} --run {run}.lm", layout=layout)
            first = self.said.splitlines()[0]
            self.ok(f"finetune classifier --init-from tiny --train train.tsv --epochs 2 {TRAIN} --run {run}.c", layout=layout)
            return first, metrics(f"{run}.lm") + metrics(f"{run}.c")

        said, records = zip(*at_once(train, LAYOUTS))
        self.assertEqual(set(said), {f"tiny is '{os.path.realpath(TINY)}', which comes with the program"})
        for layout, others in zip(LAYOUTS, records):
            for a, b in zip(records[0], others, strict=True):
                if "loss" in a:
                    self.assert_close(a["loss"], b["loss"], 2e-5, f"{layout}, step {a['step']}")
        lineage = json.loads(self.ok("checkpoint show 1.c"))["lineage"]
        self.assertIsNotNone(lineage["parent"])

    def test_it_is_not_resumed(self):
        words = "but not be resumed"
        pretrain = f"pretrain --data shards --train-steps 20 {TRAIN}"
        self.assertIn(words, self.refused(f"{pretrain} --run new --resume tiny", SHAPE))
        self.assertIn(words, self.refused(f"{pretrain} --run new --resume {TINY} --tp 2", SHAPE, ranks=2))
        shutil.copytree("lm", "copy")
        shutil.copy(TINY, checkpoint("copy", 13))
        self.assertIn(words, self.refused(f"{pretrain} --run copy", SHAPE))

    def test_absent_or_changed_it_is_refused(self):
        classifier = "finetune classifier --train train.tsv --epochs 1 --run new --init-from"
        said = self.refused(f"{classifier} gone", ranks=2)
        for place in ("installed/bin/models", MODELS):
            self.assertIn(os.path.join(os.path.realpath(place), "gone/gone.h5"), said)
        self.assertIn("there is no run folder or checkpoint 'gone'", said)
        ship("slim.h5", "changed")
        with open(f"{MODELS}/changed/changed.h5", "ab") as model:
            model.write(b"x")
        self.assertIn("is not the file that was shipped", self.refused(f"{classifier} changed"))

    def test_a_run_of_that_name_comes_first(self):
        ship("slim.h5", "local")
        os.makedirs("local")  # no run yet: the model is meant
        self.assertEqual(json.loads(self.ok("checkpoint show local"))["precision"], "fp16")
        shutil.copytree("lm", "local", dirs_exist_ok=True)
        self.ok("evaluate --data shards --model local")
        self.assertIn("note: local is 'local/checkpoints/step-00000012.h5' of this folder, not '", self.said)

    def test_a_chain_begins_with_it(self):
        with open("chain.ini", "w") as ini:
            ini.write("[finetune.lm]\ninit-from = tiny\ndata = shards\ntrain-steps = 3\nrun = chain.lm\n"
                      "[finetune.classifier]\ninit-from = chain.lm\ntrain = train.tsv\nrun = chain.c\n")
        self.assertIn("init-from = tiny", self.ok("submit --config chain.ini --dry-run").decode())
        with open("chain.ini") as ini:
            text = ini.read().replace("tiny", "gone")
        with open("gone.ini", "w") as ini:
            ini.write(text)
        self.assertIn("nor a model that comes with the program", self.refused("submit --config gone.ini --dry-run"))


if __name__ == "__main__":
    main()
