"""Text in, classifier out, on a problem that can be learnt: the label is told by words in the text."""
import json
import os

from workshop import Workshop, contents, checkpoint, main, metrics, tensors, write_labelled

SHAPE = "--num-layers 2 --hidden-size 48 --num-attention-heads 4 --seq-length 32"
CLASSES = ["bad", "good", "plain"]


def group(name):
    """Of a tensor of a model with two blocks: 0 embeddings, 1 and 2 blocks, 3 head."""
    name = name.split("/")[-1]
    if name.startswith("block."):
        return 1 + int(name.split(".")[1])
    return 3 if name.startswith("classifier.") else 2 if name.startswith("final_norm.") else 0


class TextToClassifier(Workshop):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        write_labelled("train.tsv", 300, seed=2, weights=(6, 3, 1))
        write_labelled("valid.tsv", 60, seed=4, weights=(6, 3, 1))
        write_labelled("test.tsv", 150, seed=3)
        cls.ok(f"pretrain --data shards --valid shards {SHAPE} --dropout 0.1 --train-steps 150 --global-batch-size 16 "
               "--micro-batch-size 8 --lr 1e-2 --warmup-steps 10 --run one", layout="dp2")
        cls.ok("finetune lm --init-from one --data shards --valid shards --epochs 2 --lr 2e-3 --run two", layout="tp2")
        cls.classifier = "--train train.tsv --valid valid.tsv --test test.tsv --lr 5e-3"
        cls.ok(f"finetune classifier --init-from two {cls.classifier} --class-weights balanced --epochs 8 "
               "--recipe ulmfit --head-dropout 0.1 --eval-interval 10 --save-interval 10 --keep-last 100 --run three", layout="pp2")

    def test_each_stage_learns(self):
        losses = [r["loss"] for r in metrics("one") if r["kind"] == "train"]
        self.assertLess(losses[-1], losses[0] - 1)
        (first,), (second,) = ([r for r in metrics(run) if r["kind"] == "valid"] for run in ("one", "two"))
        self.assertLess(first["word_perplexity"], 40)  # of 34 words, most of them equally likely
        self.assertLess(second["loss"], first["loss"] + 0.02)
        for record in first, second:
            self.assertLess(record["perplexity"], record["word_perplexity"])

    def test_the_classifier_knows_the_words(self):
        records = metrics("three")
        test = [r for r in records if r["kind"] == "test"]
        self.assertEqual(len(test), 1)
        test = test[0]
        self.assertGreater(test["accuracy"], 0.8)  # chance: 0.33
        self.assertGreater(test["macro_f1"], 0.8)
        self.assertAlmostEqual(test["accuracy"] + test["error"], 1, delta=1e-6)
        self.assertEqual(test["n"], 150)
        self.assertEqual(list(test["classes"]), CLASSES)
        self.assertEqual(sum(map(sum, test["confusion"])), 150)
        valid = [r["loss"] for r in records if r["kind"] == "valid"]
        self.assertGreater(len(valid), 2)
        self.assertLess(valid[-1], valid[0])

    def test_evaluate_says_what_training_said(self):
        said = json.loads(self.ok("evaluate --model three --test test.tsv"))
        trained = [r for r in metrics("three") if r["kind"] == "test"][0]
        self.assert_close(said["loss"], trained["loss"], 1e-5, "loss")
        self.assertEqual(said["confusion"], trained["confusion"])

    def test_predict_agrees_with_the_confusion(self):
        with open("test.tsv") as records:
            next(records)
            pairs = [line.rstrip("\n").split("\t") for line in records]
        out = self.ok("predict --model three --input -", input="".join(text + "\n" for _, text in pairs).encode()).decode()
        header, *rows = [line.split("\t") for line in out.splitlines()]
        self.assertEqual(header, ["label", *CLASSES])
        confusion = [[0] * 3 for _ in CLASSES]
        for (label, _), row in zip(pairs, rows):
            self.assertEqual(row[0], CLASSES[max(range(3), key=lambda c: float(row[1 + c]))])
            confusion[CLASSES.index(label)][CLASSES.index(row[0])] += 1
        self.assertEqual(confusion, [r for r in metrics("three") if r["kind"] == "test"][0]["confusion"])
        self.ok("predict --model three --input test.tsv --output labels.tsv")
        self.assertEqual(contents(".")["labels.tsv"].count(b"\n"), 152)  # the header of the input is a line too

    def test_frozen_groups_do_not_move(self):
        """Ten steps an epoch: the head alone, then a group more each epoch."""
        before = tensors(checkpoint("two", newest("two")))
        for epoch, first_trained in enumerate([3, 2, 1, 0, 0]):
            after = tensors(checkpoint("three", 10 * (epoch + 1)))
            for name, tensor in after.items():
                trained = group(name) >= first_trained
                if name.startswith("optimizer/"):
                    self.assertTrue(trained or not tensor.any(), f"{name} after epoch {epoch + 1}")
                elif name in before:  # the head is new in the first epoch
                    moved = tensor.tobytes() != before[name].tobytes()
                    self.assertEqual(moved, trained, f"{name} in epoch {epoch + 1}")
            before = after

    def test_from_scratch_everything_learns_at_once(self):
        self.ok(f"finetune classifier --tokenizer tokenizer.json {self.classifier} {SHAPE} --epochs 4 --run scratch "
                "--pooling mean --save-interval 1 --keep-last 100")
        first, second = (tensors(checkpoint("scratch", step)) for step in (5, 6))
        for name in first:
            self.assertNotEqual(first[name].tobytes(), second[name].tobytes(), name)
        test = [r for r in metrics("scratch") if r["kind"] == "test"][0]
        self.assertGreater(test["accuracy"], 0.5)

    def test_every_pooling_and_normalisation(self):
        for more in ("--pooling last", "--pooling max", "--pooling first", "--head-normalization batchnorm"):
            with self.subTest(more):
                run = more.split()[-1]
                self.ok(f"finetune classifier --init-from two {self.classifier} --gradual-unfreezing off --epochs 6 "
                        f"{more} --run {run}")
                test = [r for r in metrics(run) if r["kind"] == "test"][0]
                # The first position of a causal model sees the first token alone.
                self.assertGreater(test["accuracy"], 0.3 if "first" in more else 0.65)
                said = json.loads(self.ok(f"evaluate --model {run} --test test.tsv", layout="dp2"))
                self.assertEqual(said["confusion"], test["confusion"])

    def test_a_language_model_goes_on_in_words_it_knows(self):
        text = self.ok("generate --model two --max-tokens 60 --seed 3 --prompt", ["the cat"]).decode()
        self.assertTrue(text.startswith("the cat"))
        with open("corpus.txt") as corpus:
            known = set(corpus.read().split())
        words = text.split()[2:]
        self.assertGreater(sum(word in known for word in words), 0.7 * len(words), text)
        self.assertEqual(text, self.ok("generate --model two --max-tokens 60 --seed 3 --prompt", ["the cat"]).decode())
        self.assertNotEqual(text, self.ok("generate --model two --max-tokens 60 --seed 4 --prompt", ["the cat"]).decode())


def newest(run):
    return max(int(name[5:-3]) for name in os.listdir(os.path.join(run, "checkpoints")))


if __name__ == "__main__":
    main()
