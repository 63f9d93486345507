"""Several classifiers in one file. Oracle: the geometric mean of what each of them says."""
import json
import math
import os

import h5py
from workshop import LAYOUTS, SHAPE, Workshop, at_once, checkpoint, main, tensors, write_corpus, write_labelled

SEEDS = (1, 2, 3)
COMMON = "--epochs 2 --global-batch-size 12 --threads-per-rank 1 --lr 5e-3"


def geometric_mean(rows):
    products = [math.prod(p) ** (1 / len(p)) for p in zip(*rows, strict=True)]
    return [p / sum(products) for p in products]


class Ensemble(Workshop):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with open("lines.txt", "w") as out, open("test.tsv") as records:
            next(records)
            out.write("".join(line.split("\t")[1] for line in records))
        cls.scratch = f"finetune classifier --tokenizer tokenizer.json --train train.tsv {COMMON}"
        at_once(lambda seed: cls.ok(cls.scratch, SHAPE, f"--seed {seed} --dropout 0.{seed} --run run-{seed}"), SEEDS)
        cls.ok("checkpoint ensemble run-1 run-2 run-3 --precision fp32 --output whole.h5")

    def rows(self, model, layout="1"):
        said = self.ok(f"predict --model {model} --input lines.txt", layout=layout).decode().splitlines()
        return said[0].split("\t"), [(row[0], [float(p) for p in row[1:]]) for row in
                                     (line.split("\t") for line in said[1:])]

    def test_it_says_the_mean_under_every_layout(self):
        ones = [self.rows(f"run-{seed}")[1] for seed in SEEDS]
        means = [geometric_mean([row[1] for row in rows]) for rows in zip(*ones, strict=True)]
        self.assertGreater(max(abs(p - q) for one, mean in zip(ones[0], means) for p, q in zip(one[1], mean)), 0.01)
        for layout in LAYOUTS:
            with self.subTest(layout=layout):
                header, rows = self.rows("whole.h5", layout)
                for (label, said), mean in zip(rows, means, strict=True):
                    self.assertEqual(label, header[1:][said.index(max(said))])
                    for p, q in zip(said, mean, strict=True):
                        self.assertAlmostEqual(p, q, delta=1e-5)

    def test_evaluate_counts_what_predict_says(self):
        _, rows = self.rows("whole.h5")
        with open("test.tsv") as records:
            labels = [line.split("\t")[0] for line in records][1:]
        right = sum(row[0] == label for row, label in zip(rows, labels, strict=True))
        for layout in ("1", "dp2 x pp2"):
            said = json.loads(self.ok("evaluate --model whole.h5 --test test.tsv", layout=layout))
            self.assertAlmostEqual(said["accuracy"], right / len(labels), delta=1e-6)

    def test_bench_predict_counts_what_is_multiplied(self):
        with h5py.File("whole.h5") as file:
            weights = sum(item.size for name, item in tensors("whole.h5").items()
                          if name.startswith("member.0/") and "embedding" not in name)
            width = file["member.0/token_embedding"].shape[1]
        for model, members in (("run-1", 1), ("whole.h5", 3)):
            for layout in ("1", "dp2", "tp2"):
                said = json.loads(self.ok(f"bench predict --model {model} --input lines.txt --steps 1", layout=layout))
                self.assertEqual((said["members"], said["texts"]), (members, 60))
                seconds = said["texts"] / said["texts_per_s"]
                self.assert_close(said["tokens"], said["tokens_per_s"] * seconds, 1e-4, "tokens")
                # of every token by every weight; of pairs of positions, were all texts equally long
                pairs = said["tokens"] * (said["tokens"] / said["texts"] + 1) / 2
                least = members * (2 * weights * said["tokens"] + 4 * 2 * width * pairs)
                self.assertTrue(least * 0.999 < said["gflops"] * 1e9 * seconds < 1.05 * least, said)

    def test_the_file(self):
        shown = json.loads(self.ok("checkpoint show whole.h5"))
        self.assertEqual(shown["format_version"], 4)
        self.assertEqual(shown["kind"], "checkpoint")
        self.assertEqual((shown["ensemble"]["members"], shown["ensemble"]["network"], shown["ensemble"]["words"]),
                         (3, 1, 0))
        self.assertEqual([one["path"] for one in shown["ensemble"]["of"]],
                         [checkpoint(f"run-{seed}", 8) for seed in SEEDS])
        self.ok("checkpoint verify whole.h5")
        held = tensors("whole.h5")
        for place, seed in enumerate(SEEDS):
            for name, tensor in tensors(checkpoint(f"run-{seed}", 8)).items():
                if not name.startswith("optimizer"):
                    self.assertEqual(held[f"member.{place}/{name}"].tobytes(), tensor.tobytes())
        self.ok("checkpoint slim whole.h5 --precision fp32 --output again.h5")
        self.assertEqual(self.rows("again.h5"), self.rows("whole.h5"))
        self.ok("checkpoint ensemble run-1 run-2 run-3 --output half.h5")
        self.ok("checkpoint slim whole.h5 --output slim.h5")
        with h5py.File("half.h5") as half, h5py.File("slim.h5") as slim:
            name = "member.2/block.0.attention.qkv.weight"
            self.assertEqual(half[name][()].tobytes(), slim[name][()].tobytes())
            self.assertEqual(half[name].dtype, "float16")
        for (_, p), (_, q) in zip(self.rows("half.h5")[1], self.rows("whole.h5")[1], strict=True):
            for a, b in zip(p, q):
                self.assertAlmostEqual(a, b, delta=0.01)

    def test_a_damaged_member_is_found(self):
        with open("whole.h5", "rb") as file:
            content = bytearray(file.read())
        content[len(content) // 2] ^= 1
        with open("damaged.h5", "wb") as file:
            file.write(content)
        self.refused("predict --model damaged.h5 --input lines.txt", "damaged")

    def test_one_member(self):
        self.ok("checkpoint ensemble run-2 --precision fp32 --output one.h5")
        for (_, p), (_, q) in zip(self.rows("one.h5")[1], self.rows("run-2")[1], strict=True):
            for a, b in zip(p, q):
                self.assertAlmostEqual(a, b, delta=2e-6)

    def test_a_folder_with_model_h5_means_it(self):
        os.makedirs("folder")
        self.ok("checkpoint ensemble run-1 run-2 run-3 --precision fp32 --output folder/model.h5")
        self.assertEqual(self.rows("folder"), self.rows("whole.h5"))

    def test_words_trained_into_the_members(self):
        """--wide-features: averaged where the words are the same, refused where they are not."""
        for seed in SEEDS[:2]:
            self.ok(self.scratch, SHAPE, f"--wide-features on --seed {seed} --run wide-{seed}")
        self.refused("checkpoint ensemble run-1 wide-1 --output x.h5", "wide-1", "wide true, not false")
        write_labelled("others.tsv", 40, seed=77)
        self.ok(self.scratch.replace("train.tsv", "others.tsv"), SHAPE, "--wide-features on --run wide-others")
        self.refused("checkpoint ensemble wide-1 wide-others --output x.h5", "wide-others", "another model of words")
        self.ok("checkpoint ensemble wide-1 wide-1 --precision fp32 --output wides.h5")
        for (_, p), (_, q) in zip(self.rows("wides.h5")[1], self.rows("wide-1")[1], strict=True):
            for a, b in zip(p, q):
                self.assertAlmostEqual(a, b, delta=2e-6)

    def test_refusals(self):
        write_corpus("other.txt", 600, seed=9)
        self.ok("data tokenizer --input other.txt --vocab-size 320 --output other.json")
        self.ok(self.scratch.replace("tokenizer.json", "other.json"), SHAPE, "--run other-tokens")
        self.ok(self.scratch, SHAPE, "--head-hidden-size 7 --run other-head")
        self.ok(self.scratch, "--num-layers 1 --hidden-size 32 --num-attention-heads 4 --seq-length 32 --run other-shape")
        with open("train.tsv") as rows, open("two.tsv", "w") as out:
            out.writelines(row for row in rows if not row.startswith("plain"))
        self.ok(self.scratch.replace("train.tsv", "two.tsv"), SHAPE, "--run two")
        self.ok(f"pretrain --data shards --train-steps 2 --run lm", SHAPE)
        for run, said in (("other-tokens", "tokenizer"), ("other-head", "hidden 7, not"), ("other-shape", "layers 1, not 2"),
                          ("two", "classes"), ("lm", "holds no classifier"), ("whole.h5", "is an ensemble already")):
            self.refused(f"checkpoint ensemble run-1 {run} --output x.h5", run, said)
        self.refused("checkpoint ensemble run-1 --output whole.h5", "is there already")
        self.refused("checkpoint ensemble run-1 missing --output x.h5", "missing")
        self.refused("checkpoint ensemble --output x.h5", "--models")
        self.refused("finetune lm --init-from whole.h5 --data shards --epochs 1 --run r", "holds no language model")
        self.refused("finetune classifier --resume whole.h5 --train train.tsv --run r", "but not be resumed")
        self.refused("generate --model whole.h5 --prompt a", "no language model")
        self.assertFalse(os.path.exists("x.h5"))
        self.assertFalse(os.path.exists("r"))

    def refused(self, command, *words):
        done = self.run_ulmpi(command)
        self.assertEqual(done.returncode, 2, done.stderr.decode())
        for word in words:
            self.assertIn(word, done.stderr.decode())


if __name__ == "__main__":
    main()
