"""AWD-LSTM through all three stages: streams read on from step to step, under every layout, stopped and resumed."""
import json
import os
import shutil

import h5py
from workshop import SHAPE, Workshop, at_once, checkpoint, main, metrics, tensors, write_labelled

MODEL = "--architecture awd-lstm --num-layers 3 --embedding-size 16 --hidden-size 24 --seq-length 12"
DROPS = "--dropout 0.1 --weight-dropout 0.2 --activation-reg 2 --temporal-reg 1"
COMMON = "--global-batch-size 6 --micro-batch-size 2 --save-interval 5 --keep-last 10 --log-interval 1"
PRETRAIN = f"pretrain --data shards --valid shards --train-steps 10 --lr 1e-2 {COMMON}"
FOUR = ("1", "dp2", "tp2", "pp2")


class Recurrent(Workshop):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        write_labelled("train.tsv", 200, seed=2)

        def pretrain(layout):
            cls.ok(PRETRAIN, MODEL, DROPS, f"--run {layout}", layout=layout)

        at_once(pretrain, FOUR)
        cls.ok(f"pretrain --data shards --valid shards --train-steps 400 --lr 1e-2 --warmup-steps 10 --global-batch-size 16 "
               f"--micro-batch-size 16 --run base {MODEL}")

    def test_layouts_train_the_same_model(self):
        alone = tensors(checkpoint("1", 10))
        states = [name for name in alone if name.startswith("optimizer/state/")]
        self.assertEqual(len(states), 6)  # h and c of three layers
        for name in states:
            self.assertEqual(alone[name].shape, (6, 16 if "block.2" in name else 24))
            self.assertGreater(abs(alone[name]).min(axis=1).max(), 0)
        for layout in FOUR[1:]:
            others = tensors(checkpoint(layout, 10))
            self.assertEqual(sorted(others), sorted(alone))
            for name, tensor in alone.items():
                if not name.startswith("optimizer/second"):
                    self.assertLess(abs(tensor - others[name]).max(), 2e-5 * max(1, abs(tensor).max()), f"{layout} {name}")
            for a, b in zip(metrics("1"), metrics(layout)):
                self.assertEqual(a["step"], b["step"])
                self.assert_close(a["loss"], b["loss"], 2e-5, f"loss of step {a['step']}")
                self.assertEqual(a.get("ledger"), b.get("ledger"))

    def test_ten_steps_are_five_and_five(self):
        def go_on(layout):
            parts = f"parts-{layout}"
            shutil.copytree(layout, parts)
            os.remove(checkpoint(parts, 10))
            self.ok(PRETRAIN, MODEL, DROPS, "--run", parts, layout=layout)
            return self.said

        for layout, said in zip(FOUR, at_once(go_on, FOUR)):
            with self.subTest(layout=layout):
                self.assertIn("step 5", said)
                whole, parts = tensors(checkpoint(layout, 10)), tensors(checkpoint(f"parts-{layout}", 10))
                self.assertEqual(sorted(whole), sorted(parts))
                for name, tensor in whole.items():
                    self.assertEqual(tensor.tobytes(), parts[name].tobytes(), name)
                self.assertIn(b'"matches":true', self.ok("data ledger", f"parts-{layout}"))

    def test_a_run_goes_on_under_another_layout(self):
        for here, there in (("dp2", "tp2"), ("pp2", "dp2 x pp2")):
            run = f"{here} to {there}".replace(" ", "-")
            shutil.copytree(here, run)
            os.remove(checkpoint(run, 10))
            self.ok(PRETRAIN.replace("--micro-batch-size 2", ""), MODEL, DROPS, "--run", run, layout=there)
            whole, moved = tensors(checkpoint(here, 10)), tensors(checkpoint(run, 10))
            for name, tensor in whole.items():
                if not name.startswith("optimizer/second"):
                    self.assertLess(abs(tensor - moved[name]).max(), 2e-5 * max(1, abs(tensor).max()), name)

    def test_it_learns_and_reads_on(self):
        losses = [r["loss"] for r in metrics("base") if r["kind"] == "train"]
        self.assertLess(losses[-1], losses[0] - 1.5)
        trained = [r for r in metrics("base") if r["kind"] == "valid"][-1]
        for layout in ("1", "dp2", "tp2", "pp2"):
            for micro_batch in (1, 5):
                said = json.loads(self.ok(f"evaluate --model base --data shards --micro-batch-size {micro_batch}",
                                          layout=layout))
                self.assert_close(said["loss"], trained["loss"], 1e-5, f"{layout}, {micro_batch}")
        with h5py.File(checkpoint("base", 400)) as file:
            self.assertEqual(file.attrs["format_version"], 7)

    def test_text_goes_on_whatever_the_layout(self):
        prompt = "the dog walks over the old road under the tree with stone water and the house sings"
        alone = self.ok(["generate", "--model", "base", "--max-tokens", "12", "--prompt", prompt])
        self.assertTrue(alone.decode().startswith(prompt))
        for layout in FOUR[1:]:
            self.assertEqual(self.ok(["generate", "--model", "base", "--max-tokens", "12", "--prompt", prompt],
                                     layout=layout), alone)

    def test_three_stages(self):
        self.ok("finetune lm --init-from base --data shards --valid shards --epochs 2 --run two --weight-dropout 0.1",
                layout="dp2")
        model = json.loads(self.ok("checkpoint show two"))["model"]
        self.assertEqual((model["architecture"], model["weight_dropout"]), ("awd-lstm", 0.1))
        train = "finetune classifier --init-from two --train train.tsv --test test.tsv --epochs 12 --lr 1e-2"
        self.ok(train, "--run three", layout="tp2")
        self.ok(train, "--run others", layout="pp2")
        first, second = ([r for r in metrics(run) if r["kind"] == "test"][0] for run in ("three", "others"))
        self.assertGreater(first["accuracy"], 0.6)  # chance: 0.33
        self.assert_close(first["loss"], second["loss"], 1e-3, "loss of the test")
        alone = self.ok("predict --model three --input test.tsv").decode().split("\n")
        spread = self.ok("predict --model three --input test.tsv", layout="dp2").decode().split("\n")
        self.assertEqual([line.split("\t")[0] for line in alone], [line.split("\t")[0] for line in spread])

    def test_windows_of_a_classifier_may_be_longer(self):
        train = "finetune classifier --init-from base --train train.tsv --test test.tsv --epochs 1 --run wide"
        self.ok(train, "--seq-length 64")
        self.assertEqual(json.loads(self.ok("checkpoint show wide"))["model"]["context"], 64)
        self.ok("predict --model wide --input test.tsv")

    def test_its_configuration_runs_it_again(self):
        self.ok("pretrain --config dp2/config.ini --run again", layout="dp2")
        before, again = tensors(checkpoint("dp2", 10)), tensors(checkpoint("again", 10))
        for name, tensor in before.items():
            self.assertEqual(tensor.tobytes(), again[name].tobytes(), name)

    def test_weights_alone(self):
        self.ok("checkpoint slim base --output slim.h5")
        self.assertFalse([name for name in tensors("slim.h5") if "state" in name])
        said, whole = (json.loads(self.ok(f"evaluate --model {model} --data shards")) for model in ("slim.h5", "base"))
        self.assert_close(said["loss"], whole["loss"], 1e-4, "loss in half precision")
        self.ok("checkpoint verify slim.h5")

    def test_what_it_has_not_is_refused(self):
        for option, arguments in {
            "--num-attention-heads": f"{PRETRAIN} {MODEL} --num-attention-heads 2 --run no",
            "--attention-dropout": f"{PRETRAIN} {MODEL} --attention-dropout 0.1 --run no",
            "--tie-embeddings": f"{PRETRAIN} {MODEL} --tie-embeddings off --run no",
            "--embedding-size": f"{PRETRAIN} {' '.join(SHAPE)} --embedding-size 8 --run no",
            "--weight-dropout": f"{PRETRAIN} {' '.join(SHAPE)} --weight-dropout 0.1 --run no",
            "--tensor-parallel-size": f"{PRETRAIN} {MODEL.replace('16', '3')} --tensor-parallel-size 4 --run no",
            "--stride": "evaluate --model base --data shards --stride 3",
            "awd-lstm": "checkpoint export base --output out",
            "--activation-reg": "finetune classifier --init-from base --train train.tsv --epochs 1 --activation-reg 2 --run no",
            "--mask-documents": f"bench step {MODEL} --mask-documents on --steps 1",
            "awd-lstm needs --embedding-size": f"{PRETRAIN} --architecture awd-lstm --run no",
            "--seq-length":
                f"{PRETRAIN.replace('--train-steps 10', '--train-steps 12')} {MODEL.replace('length 12', 'length 20')} --run 1",
            "--global-batch-size":
                f"{PRETRAIN.replace('--train-steps 10', '--train-steps 12').replace('-size 6', '-size 4')} --run 1",
        }.items():
            with self.subTest(option=option):
                ranks = 4 if "tensor" in option else 1
                done = self.run_ulmpi(arguments, ranks=ranks)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(option, done.stderr.decode())
                self.assertFalse(os.path.exists("no"))


if __name__ == "__main__":
    main()
