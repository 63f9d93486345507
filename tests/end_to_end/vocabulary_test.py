"""A language model takes over another tokenizer: the rows of tokens that both know stay, every other token begins as the
mean of the rows that spell it; the same under every layout, and over a stop. Oracle: the tables in the checkpoints."""
import json
import os
import re

import h5py
import numpy

from workshop import LAYOUTS, SHAPE, Workshop, at_once, checkpoint, main, metrics, tensors

TRAIN = "--global-batch-size 8 --log-interval 1 --threads-per-rank 1"
DOMAIN = "houses by rivers walking underneath bright roads oldest waters the thing sings".split()


def pieces(tokenizer):
    """Of the tokens that are not special: piece -> id."""
    with open(tokenizer) as file:
        found = json.load(file)
    special = {token["content"] for token in found["added_tokens"]}
    return {piece: id for piece, id in found["model"]["vocab"].items() if piece not in special}


class Vocabulary(Workshop):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with open("domain.txt", "w") as out:
            for line in range(400):
                out.write(" ".join(DOMAIN[(line * 7 + word * word) % len(DOMAIN)] for word in range(9)) + " .\n")
        cls.ok("data tokenizer --input domain.txt --vocab-size 310 --output own.json")
        cls.ok("data shards --tokenizer own.json --input domain.txt --output own")
        for name, more in ("tied", ""), ("untied", "--tie-embeddings off"):
            cls.ok(f"pretrain --data shards --train-steps 10 --lr 3e-3 {more} {TRAIN} --run {name}", SHAPE)

    def test_rows_are_copied_or_mean(self):
        old, new = pieces("tokenizer.json"), pieces("own.json")
        spelt = [piece for piece in new if piece not in old and piece.replace("Ġ", "").isascii()]
        self.assertGreater(len(spelt), 10)
        with open("pieces.txt", "w") as out:
            out.writelines(piece.replace("Ġ", " ") + "\n" for piece in spelt)
        lines = self.ok("data encode --tokenizer tokenizer.json --input pieces.txt").decode().splitlines()
        sources = {new[piece]: [int(id) for id in line.split()] for piece, line in zip(spelt, lines, strict=True)}
        known = [(id, old[piece]) for piece, id in new.items() if piece in old]
        mine, theirs = (list(ids) for ids in zip(*known))
        for model, tables in ("tied", ["token_embedding"]), ("untied", ["token_embedding", "output.weight"]):
            run = f"still.{model}"
            self.ok(f"finetune lm --init-from {model} --data own --transfer-vocabulary on --train-steps 1 --lr 0 {TRAIN} "
                    f"--run {run}")
            before, after = tensors(checkpoint(model, 10)), tensors(checkpoint(run, 1))
            self.assertEqual(set(before), set(after))
            for name, rows in before.items():
                if name in tables:
                    self.assertEqual(after[name].shape, (310, rows.shape[1]))
                    self.assertTrue((after[name][mine] == rows[theirs]).all(), name)
                    for id, spelling in sources.items():
                        self.assertLess(numpy.abs(after[name][id] - rows[spelling].mean(axis=0)).max(), 1e-6, name)
                elif "optimizer" not in name:
                    self.assertTrue((rows == after[name]).all(), name)
            with open("own.json") as own, open(f"{run}/tokenizer.json") as kept:
                self.assertEqual(json.load(own), json.load(kept))

    def test_coverage_is_said(self):
        self.ok(f"finetune lm --init-from tied --data own --transfer-vocabulary --train-steps 1 {TRAIN} --run said", layout="dp2")
        known, size, share = re.search(r"knows (\d+) of (\d+) tokens, ([\d.]+) % of those of own", self.said).groups()
        old, new = pieces("tokenizer.json"), pieces("own.json")
        same = {id for piece, id in new.items() if piece in old}
        special = 310 - len(new)  # end-of-text, which both have
        with h5py.File("own/" + sorted(os.listdir("own"))[0]) as shard:
            tokens = shard["tokens"][()]
        self.assertEqual((int(known), int(size)), (len(same) + special, 310))
        of_text = numpy.isin(tokens, list(same | (set(range(310)) - set(new.values())))).mean()
        self.assertAlmostEqual(float(share), 100 * of_text, delta=0.051)

    def test_every_layout_and_a_stop_give_the_same(self):
        for model in "tied", "untied":
            command = f"finetune lm --init-from {model} --data own --valid own --transfer-vocabulary on --train-steps 4 {TRAIN}"
            names = {layout: f"{model}.{re.sub(r'[^a-z0-9]', '', layout)}" for layout in LAYOUTS}
            at_once(lambda layout: self.ok(command, f"--run {names[layout]}", layout=layout), LAYOUTS)
            alone = metrics(names["1"])
            for layout, run in names.items():
                for a, b in zip(alone, metrics(run), strict=True):
                    self.assert_close(a["loss"], b["loss"], 2e-5, f"{layout}, step {a['step']}")
        # Goes on with its own vocabulary, whether it is asked again or not.
        first = "finetune lm --init-from tied --data own --valid own --lr-schedule constant --save-interval 2"
        self.ok(f"{first} --transfer-vocabulary on --train-steps 4 {TRAIN} --run whole")
        self.ok(f"{first} --transfer-vocabulary on --train-steps 2 {TRAIN} --run stopped")
        self.ok(f"{first} --transfer-vocabulary on --train-steps 4 {TRAIN} --run stopped")
        for name, tensor in tensors(checkpoint("whole", 4)).items():
            self.assertTrue((tensor == tensors(checkpoint("stopped", 4))[name]).all(), name)
        self.ok(f"finetune classifier --init-from stopped --train train.tsv --epochs 1 {TRAIN} --run classifier")

    def test_it_is_not_done_unasked_nor_in_vain(self):
        for words, said in (
            ("--data own", "or give --transfer-vocabulary on"),
            ("--data shards --transfer-vocabulary on", "the model's own tokenizer"),
            ("--data own --valid shards --transfer-vocabulary on", "shards was made with another tokenizer than own"),
        ):
            done = self.run_ulmpi(f"finetune lm --init-from tied {words} --train-steps 1 {TRAIN} --run new", ranks=2)
            self.assertEqual(done.returncode, 2)
            self.assertIn(said, done.stderr.decode())


if __name__ == "__main__":
    main()
