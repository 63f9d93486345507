"""What a recipe is made of: an average of the weights, blocks made new, early stopping. Oracles: the definition, worked
out from the checkpoints of every step; runs without the option; what `evaluate` says of the checkpoint that was best."""
import json
import os
import re
import shutil

import numpy
from workshop import LAYOUTS, SHAPE, Workshop, at_once, checkpoint, main, metrics, progress, saved_steps, tensors

COMMON = "--threads-per-rank 1 --log-interval 1"
TRAIN = f"finetune classifier --init-from base --train train.tsv --global-batch-size 20 --lr 3e-3 --dropout 0.1 {COMMON}"
EMA = 0.8


def weights(path):
    return {name: tensor for name, tensor in tensors(path).items() if not name.startswith("optimizer/")}


class Recipe(Workshop):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ok(f"pretrain --data shards --train-steps 6 --lr 3e-3 --global-batch-size 8 {COMMON} --run base", SHAPE)
        # What is learnt of the training texts is wrong of these: the longer, the worse.
        with open("train.tsv") as file, open("contrary.tsv", "w") as out:
            header, *lines = file.readlines()
            turned = {"good": "bad", "bad": "plain", "plain": "good"}
            out.write(header)
            for line in lines:
                label, text = line.split("\t")
                out.write(f"{turned[label]}\t{text}")

    def assert_same(self, a, b, what=""):
        self.assertEqual(sorted(a), sorted(b))
        for name, tensor in a.items():
            self.assertEqual(tensor.tobytes(), b[name].tobytes(), f"{what} {name}")

    def test_the_average_is_the_mean_by_definition_and_training_does_not_see_it(self):
        steps = 8
        command = f"{TRAIN} --test test.tsv --epochs 4 --save-interval 1 --keep-last 100"
        self.ok(command, "--run plain")
        for layout in ("1", "dp2", "tp2 x pp2"):
            with self.subTest(layout=layout):
                self.ok(command, f"--ema {EMA} --run averaged", layout=layout)
                mean, total = {}, 0
                for step in range(1, steps + 1):
                    file = tensors(checkpoint("averaged", step))
                    total = EMA * total + 1
                    for name in weights(checkpoint("plain", step)):
                        now = file["optimizer/weight/" + name].astype(numpy.float64)
                        mean[name] = EMA * mean.get(name, 0) + now
                        numpy.testing.assert_allclose(file[name], mean[name] / total, rtol=0, atol=1e-6, err_msg=name)
                if layout == "1":  # the weights and moments of training, to the bit
                    trained = {name: tensor for name, tensor in file.items() if name.startswith("optimizer/")}
                    for name in weights(checkpoint("plain", steps)):
                        trained[name] = trained.pop("optimizer/weight/" + name)
                    self.assert_same(tensors(checkpoint("plain", steps)), trained)
                self.ok("checkpoint verify averaged")
                shown = json.loads(self.ok("checkpoint show averaged"))
                self.assertEqual((shown["format_version"], shown["averaged"]), (5, True))
                judged = json.loads(self.ok("evaluate --model averaged --test test.tsv"))
                said = [r for r in metrics("averaged") if r["kind"] == "test"][-1]
                self.assert_close(judged["loss"], said["loss"], 1e-6, "loss of the average")
                self.assertNotEqual(said["loss"], [r for r in metrics("plain") if r["kind"] == "test"][-1]["loss"])
                self.ok("checkpoint slim averaged --precision fp32 --output slim.h5")
                self.assert_same(weights("slim.h5"), weights(checkpoint("averaged", steps)))
            shutil.rmtree("averaged")
            os.remove("slim.h5")

    def test_the_average_is_what_others_start_from_and_cannot_be_changed_on_the_way(self):
        lm = f"finetune lm --init-from base --data shards --train-steps 4 --global-batch-size 8 {COMMON}"
        self.ok(lm, "--ema 0.9 --run domain")
        self.ok(TRAIN.replace("base", "domain").replace("3e-3", "0"), "--epochs 1 --run from-domain")
        before, after = weights(checkpoint("domain", 4)), weights(checkpoint("from-domain", 2))
        for name in set(before) & set(after):
            self.assertEqual(before[name].tobytes(), after[name].tobytes(), name)
        for ema in ("0.5", "0"):
            done = self.run_ulmpi(lm, f"--ema {ema} --run domain", ranks=2)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(b"--ema", done.stderr)
            self.assertIn(b"began with 0.9", done.stderr)
        self.ok(lm, "--run domain")  # left out it is what it was
        self.assertIn("nothing to do", self.said)

    def test_the_average_is_in_the_estimate_of_memory(self):
        def megabytes(more):
            self.ok("pretrain --data shards --train-steps 1 --num-layers 4 --hidden-size 256 --num-attention-heads 4 "
                    f"--seq-length 32 --global-batch-size 1 {COMMON} --run large", more)
            shutil.rmtree("large")
            count, estimate = re.search(r"([\d.]+) M parameters .*, about ([\d.]+) MB per rank", self.said).groups()
            return float(count), float(estimate)
        for more, copies in (("", 1), ("--save-mode async", 2)):
            parameters, without = megabytes(more)
            self.assert_close(megabytes(more + " --ema 0.9")[1] - without, copies * 4 * parameters, 0.05, "of the average")

    def test_smoothing_changes_the_training_loss_alone(self):
        share, still = 0.3, TRAIN.replace("3e-3", "0").replace("0.1", "0").replace("-size 20", "-size 40")
        self.ok(still, f"--head-dropout 0 --head-dropout2 0 --epochs 1 --valid train.tsv --label-smoothing {share} --run smooth")
        self.assertIn("last smoothed loss", self.said)
        with open("train.tsv") as file:
            labels, texts = zip(*(line.rstrip("\n").split("\t") for line in list(file)[1:]))
        out = self.ok("predict --model smooth --input -", input="".join(text + "\n" for text in texts).encode()).decode()
        header, *rows = [line.split("\t") for line in out.splitlines()]
        plain = smoothed = 0
        for label, row in zip(labels, rows):
            log_p = dict(zip(header[1:], numpy.log([float(p) for p in row[1:]])))
            plain -= log_p[label] / len(rows)
            smoothed -= ((1 - share) * log_p[label] + share * sum(log_p.values()) / len(log_p)) / len(rows)
        train, valid = metrics("smooth")
        self.assertEqual((train["label_smoothing"], "label_smoothing" in valid), (share, False))
        self.assert_close(train["loss"], smoothed, 1e-4, "loss of training")
        self.assert_close(valid["loss"], plain, 1e-4, "loss of validation")
        self.assertNotAlmostEqual(plain, smoothed, 3)

    def test_blocks_made_new_are_those_of_a_model_from_scratch(self):
        still = TRAIN.replace("3e-3", "0") + " --epochs 1 --seed 5"
        scratch = still.replace("--init-from base", "--tokenizer tokenizer.json")
        self.ok(scratch, SHAPE, "--run scratch")
        base, fresh = weights(checkpoint("base", 6)), weights(checkpoint("scratch", 2))
        for blocks, new in ((0, ()), (1, ("block.1.", "final_norm")), (2, ("block.", "final_norm"))):
            def run(layout):
                name = f"new-{blocks}-{list(LAYOUTS).index(layout)}"
                self.ok(still, f"--reinit-blocks {blocks} --run {name}", layout=layout)
                return weights(checkpoint(name, 2))
            for layout, found in zip(LAYOUTS, at_once(run, LAYOUTS)):
                with self.subTest(blocks=blocks, layout=layout):
                    self.assertTrue(any(name.startswith("final_norm") for name in found))
                    for name, tensor in found.items():
                        expected = fresh if name.startswith(("classifier.", *new)) else base
                        self.assertEqual(tensor.tobytes(), expected[name].tobytes(), name)
        self.assertFalse((base["block.1.attention.qkv.weight"] == fresh["block.1.attention.qkv.weight"]).any())

    STOPS = f"{TRAIN} --valid contrary.tsv --test test.tsv --epochs 50 --lr-schedule constant --eval-interval 2 --early-stop 3"

    def test_a_run_that_gets_no_better_ends_with_its_best_model(self):
        def run(case):
            layout, more = case
            name = f"early-{cases.index(case)}"
            self.ok(self.STOPS, more, f"--run {name}", layout=layout)
            said = self.said
            before = metrics(name)
            self.ok(self.STOPS, more, f"--run {name}", layout=layout)
            self.assertRegex(self.said, "ended early, at step .* best on validation; nothing to do")
            self.assertEqual(metrics(name), before)
            return name, said
        cases = [(layout, more) for layout in ("1", "dp2", "tp2 x pp2") for more in ("", f"--ema {EMA} --save-mode async")]
        for case, (name, said) in zip(cases, at_once(run, cases)):
            with self.subTest(case=case):
                records = metrics(name)
                losses = {r["step"]: r["loss"] for r in records if r["kind"] == "valid" and "of_step" not in r}
                best = min(losses, key=losses.get)
                last = max(losses)
                self.assertEqual(last, best + 6)  # three evaluations
                self.assertLess(last, 100)
                self.assertEqual(saved_steps(name)[-1], last)
                self.assertIn(best, saved_steps(name))
                end = progress(checkpoint(name, last))
                self.assertEqual((end["step"], end["of_step"], end["complete"]), (last, best, True))
                self.assert_same(tensors(checkpoint(name, best)), tensors(checkpoint(name, last)))
                self.assertIn(f"the model is that of step {best}, the best on validation; training ended early, at step "
                              f"{last} of 100: no better in 3 evaluations after it", said)
                final = {r["kind"]: r for r in records if r.get("of_step") == best}
                self.assert_close(final["valid"]["loss"], losses[best], 1e-6, "the best loss")
                judged = json.loads(self.ok(f"evaluate --model {name} --test test.tsv"))
                self.assert_close(judged["loss"], final["test"]["loss"], 1e-6, "loss of the run's model")

    def test_a_run_that_was_stopped_ends_early_all_the_same(self):
        self.ok(self.STOPS, "--save-interval 1 --keep-last 100 --run whole")
        last = saved_steps("whole")[-1]
        for step in (last - 5, last - 1, last):
            with self.subTest(left_from=step):
                shutil.copytree("whole", "part")
                for later in saved_steps("part"):
                    if later >= step:
                        os.remove(checkpoint("part", later))
                self.ok(self.STOPS, "--save-interval 1 --keep-last 100 --run part")
                self.assert_same(tensors(checkpoint("whole", last)), tensors(checkpoint("part", last)))
                self.assertEqual(metrics("whole"), metrics("part"))
                shutil.rmtree("part")
        # Killed between the last save and the judgement.
        with open("whole/metrics.jsonl") as file:
            lines = file.readlines()
        with open("whole/metrics.jsonl", "w") as file:
            file.writelines(line for line in lines if "of_step" not in line)
        self.ok(self.STOPS, "--save-interval 1 --keep-last 100 --run whole")
        with open("whole/metrics.jsonl") as file:
            self.assertEqual(file.readlines(), lines)

    def test_a_run_that_gets_better_to_the_end_keeps_its_end(self):
        command = (f"finetune lm --init-from base --data shards --valid shards --train-steps 7 --lr 1e-3 --eval-interval 3 "
                   f"--early-stop 2 --global-batch-size 8 {COMMON}")
        for layout in ("1", "pp2"):
            with self.subTest(layout=layout):
                self.ok(command, "--run steady", layout=layout)
                self.assertEqual(progress(checkpoint("steady", 7))["of_step"], 7)
                self.assertIn("the model is that of step 7, the best on validation\n", self.said)
                self.assertEqual([(r["step"], r.get("of_step")) for r in metrics("steady") if r["kind"] == "valid"],
                                 [(3, None), (6, None), (7, None), (7, 7)])
                self.ok(command, "--run steady", layout=layout)
                self.assertIn("has all its 7 steps; nothing to do", self.said)
            shutil.rmtree("steady")

    def test_the_configuration_of_a_run_says_what_its_recipe_meant(self):
        for recipe, meant in (("best", ("gradual-unfreezing = off", "lr = 0.0005", "epochs = 100", "dropout = 0.1")),
                              ("ulmfit", ("gradual-unfreezing = on", "lr = 0.003", "epochs = 8", "discriminative-factor = 2.6"))):
            with self.subTest(recipe=recipe):
                self.ok(f"finetune classifier --init-from base --train train.tsv --recipe {recipe} {COMMON} --run one")
                with open("one/config.ini") as file:
                    lines = file.read().splitlines()
                for line in (f"recipe = {recipe}", *meant):
                    self.assertIn(line, lines)
                self.ok("finetune classifier --config one/config.ini --run two")
                self.assert_same(*(tensors(checkpoint(run, saved_steps(run)[-1])) for run in ("one", "two")))
                done = self.run_ulmpi("finetune classifier --config one/config.ini --recipe",
                                      {"best": "ulmfit", "ulmfit": "best"}[recipe], ranks=1)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(b"began with " + recipe.encode(), done.stderr)
            shutil.rmtree("one"), shutil.rmtree("two")


if __name__ == "__main__":
    main()
