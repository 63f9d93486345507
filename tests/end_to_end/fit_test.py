"""One command from labelled texts to a classifier: what it plans, runs, refuses, and how it goes on."""
import json
import os
import random
import signal
import subprocess
import time

from workshop import (LAYOUTS, MARKERS, Workshop, contents, main, metrics, ranks_of, sentence, tensors,
                      write_corpus, write_labelled)

SHAPE = "--num-layers 2 --hidden-size 32 --num-attention-heads 4 --seq-length 32"
FIT = "fit --init-from general --minutes 5 --threads-per-rank 1"


def write_rows(path, rows):
    with open(path, "w") as out:
        out.write("label\ttext\n" + "".join(f"{label}\t{text}\n" for label, text in rows))


def rows_of(label, count, seed):
    draw = random.Random(seed)
    return [(label, sentence(draw, label)) for _ in range(count)]


def stack_of(run):
    import h5py  # Debian's python3-h5py

    with h5py.File(f"{run}/model.h5") as file:
        return json.loads(file["metadata"][()])["ensemble"]["words"], file["wide/model"][()].tobytes()


def record(run):
    with open(f"{run}/fit.json") as file:
        return json.load(file)


class Fit(Workshop):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        write_labelled("train.tsv", 240, seed=2)
        write_labelled("test.tsv", 90, seed=3)
        write_corpus("domain.txt", 200, seed=5)
        cls.ok(f"pretrain --data shards {SHAPE} --train-steps 60 --lr 1e-2 --run general")

    def fit(self, arguments, run, **more):
        return json.loads(self.ok(f"{FIT} {arguments} --run {run}", timeout=280, **more))

    def refused(self, arguments, *texts):
        model = "" if "--init-from" in arguments else "--init-from general"
        done = self.run_ulmpi(f"fit {model} {arguments}", timeout=120)
        said = done.stderr.decode()
        self.assertEqual(done.returncode, 2, said)
        for text in texts:
            self.assertIn(text, said)

    def test_with_a_test_set(self):
        said = self.fit("--train train.tsv --test test.tsv --valid test.tsv", "judged", layout="dp2")
        self.assertEqual(said["judged"], "test")
        self.assertEqual(said["classifier"]["n"], 90)
        self.assertEqual(sorted(said["shared_runs"]), ["text", "train"])
        self.assertLess(said["classifier"]["error"], 0.3)  # chance: 0.67
        self.assertGreater(said["baselines"]["majority"]["error"], 0.5)
        self.assertLess(said["baselines"]["linear"]["error"], 0.3)
        self.assertEqual(said["baselines"]["linear"]["n"], 90)
        self.assertEqual(said["valid"]["error"], said["classifier"]["error"])
        self.assertEqual((said["folds_held"], said["members"]), (2, 3))
        self.assertEqual(said["held_out"]["classifier"]["n"], 96)  # of two folds
        self.assertLess(said["held_out"]["classifier"]["error"], 0.3)
        self.assertLess(said["seconds"], 5 * 60 * 1.1)
        page = self.said
        self.check_stack("judged", said)
        for text in ("The plan:", "Error on 90 test texts, 240 labels", "+-", "precision", "is said to be", "taken;"):
            self.assertIn(text, page)
        last = metrics("judged")[-1]
        self.assertEqual((last["kind"], last["n"]), ("test", 90))
        evaluated = json.loads(self.ok("evaluate --model judged --test test.tsv"))
        self.assertEqual(evaluated["confusion"], last["confusion"])
        out = self.ok("predict --model judged --input -", input=b"bright happy dog\n").decode()
        self.assertIn(out.splitlines()[1].split("\t")[0], MARKERS)
        done = self.run_ulmpi("finetune classifier --init-from general --train train.tsv --run judged")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--run judged is the folder of a model that ulmpi fit has made", done.stderr.decode())
        # Stage 2 has read the training texts, and the same command has nothing left to do.
        with open("train.tsv") as rows, open("judged/text/train.txt") as text:
            self.assertEqual([row.split("\t")[1] for row in rows][1:], list(text))
        before = contents("judged")
        self.assertEqual(self.fit("--train train.tsv --test test.tsv --valid test.tsv", "judged"), said)
        self.assertIn("nothing to do", self.said)
        self.assertEqual(contents("judged"), before)

    def test_from_a_model_that_has_read_the_text(self):
        said = self.fit("--train train.tsv --test test.tsv --stage-2 off --networks 2", "read-before")
        self.assertEqual((said["folds_held"], said["members"]), (1, 1))
        self.assertLess(said["classifier"]["error"], 0.3)
        self.assertNotIn("language model", self.said)
        self.assertFalse(os.path.exists("read-before/language-model"))
        done = self.run_ulmpi(f"{FIT} --train train.tsv --test test.tsv --networks 2 --run read-before")
        self.assertEqual(done.returncode, 2)
        self.assertIn("began with another --stage-2", done.stderr.decode())

    def test_without_one_it_is_cross_validated(self):
        said = self.fit("--train train.tsv --text domain.txt", "folded")
        self.assertEqual((said["judged"], said["folds"], said["folds_held"]), ("cross-validation", 5, 5))
        self.assertEqual(said["members"], 3)
        self.assertEqual(said["classifier"]["n"], 240)  # each row once
        self.assertLess(said["classifier"]["error"], 0.3)
        self.assertLess(said["baselines"]["linear"]["error"], 0.3)
        self.assertEqual(said["baselines"]["linear"]["n"], 240)
        self.assertIn("Error by cross-validation", self.said)
        last = metrics("folded")[-1]
        self.assertEqual((last["kind"], last["n"]), ("cross-validation", 240))
        self.assertFalse(os.path.exists("folded/text/train.txt"))
        self.assertEqual([name for name in os.listdir("folded/networks") if not name.endswith(".json")], [])
        self.assertEqual(said["held_out"]["classifier"], said["classifier"])
        self.assertEqual(said["held_out"]["network"], said["network"])
        self.check_stack("folded", said)
        out = self.ok("predict --model folded --input -", input=b"bright happy dog\n").decode()
        self.assertIn(out.splitlines()[1].split("\t")[0], MARKERS)

    def test_pseudo_labels(self):
        """Of documents of --text, by every network without a fold and by the first of all rows."""
        write_labelled("some.tsv", 60, seed=21)
        with open("some.tsv") as labelled:
            known = [row.split("\t")[1] for row in labelled][1:]
        write_corpus("much.txt", 700, seed=22)
        with open("much.txt", "a") as more:
            more.writelines(known)  # are no texts without labels
        said = self.fit("--train some.tsv --text much.txt --stage-2 off --networks 3", "taught", layout="tp2 x pp2")
        self.assertIn("texts without labels, for the linear model, 3 times", self.said)
        self.assertEqual(self.said.count("fit: pseudo-labels for 700 texts"), 3)
        self.assertEqual(said["folds_held"], 2)
        self.assertIn(said["pseudo_labels"], (0, 700))
        for fold in (1, 2):
            with open(f"taught/networks/fold-{fold}.words.json") as words:
                self.assertEqual(len(json.load(words)), 12 * 3)  # held-out rows, classes
        self.assertFalse(os.path.exists("taught/networks/member-1.words"))
        self.check_stack("taught", said)
        off = self.fit("--train some.tsv --text much.txt --stage-2 on --networks 3 --pseudo-labels off", "not-taught")
        self.assertEqual(off["pseudo_labels"], 0)
        self.assertNotIn("pseudo-labels", self.said)
        self.refused("--train some.tsv --text much.txt --networks 3 --run not-taught", "began with another --pseudo-labels")

    def test_pseudo_labels_make_it_better(self):
        """Three classes with 40 words of their own, two of which stand in each of 60 labelled texts: the language model
        knows which words go together, and the linear model learns it from the texts without labels."""
        draw = random.Random(1)

        def word():
            return "".join(draw.choice("bcdfghklmnprstvz") + draw.choice("aeiou") for _ in range(3))

        own = {label: [word() for _ in range(40)] for label in "xyz"}
        others = [word() for _ in range(30)]

        def text(label, of_its_own, more):
            words = [draw.choice(own[label]) for _ in range(of_its_own)] + [draw.choice(others) for _ in range(more)]
            draw.shuffle(words)
            return " ".join(words)

        def write_texts(path, count, *sizes):
            with open(path, "w") as out:
                out.writelines(text(draw.choice("xyz"), *sizes) + "\n" for _ in range(count))

        write_texts("topics.txt", 4000, 10, 2)
        for path, count in (("few.tsv", 60), ("judged.tsv", 300)):
            write_rows(path, [(label, text(label, 2, 4)) for label in (draw.choice("xyz") for _ in range(count))])
        write_texts("unlabelled.txt", 800, 3, 4)
        self.ok("data tokenizer --input topics.txt --vocab-size 450 --output topics.json")
        self.ok("data shards --tokenizer topics.json --input topics.txt --output topics-shards")
        self.ok("pretrain --data topics-shards --num-layers 2 --hidden-size 32 --num-attention-heads 4 --seq-length 64 "
                "--global-batch-size 16 --train-steps 400 --lr 1e-2 --threads-per-rank 1 --run topics", timeout=280)
        fit = ("fit --init-from topics --train few.tsv --test judged.tsv --minutes 5 --threads-per-rank 1 --networks 3 "
               "--stage-2 off --run")
        without = json.loads(self.ok(fit, ["topics-without"], timeout=280))
        taught = json.loads(self.ok(fit, ["topics-taught", "--text", "unlabelled.txt"], layout="dp2", timeout=280))
        self.assertEqual((without["pseudo_labels"], taught["pseudo_labels"]), (0, 800))
        self.assertIn("have learnt from 800 texts of --text besides", self.said)
        self.assertLess(taught["classifier"]["error"], without["classifier"]["error"] - 0.05)  # 0.04 for 0.21
        evaluated = json.loads(self.ok("evaluate --model topics-taught --test judged.tsv"))
        self.assertEqual(evaluated["error"], taught["classifier"]["error"])

    def check_stack(self, run, said):
        """One file that says how it is mixed, with the words, asked alike under every layout."""
        shown = json.loads(self.ok("checkpoint show", run))["ensemble"]
        self.assertEqual((shown["members"], len(shown["of"])), (said["members"], said["members"]))
        for key, share in said["stack"].items():
            self.assertAlmostEqual(share, shown[key], delta=1e-6)
        self.assertGreater(shown["words"], 0)
        self.assertGreater(shown["network"], 0)
        self.assertLess(said["calibration_error"], 0.2)
        alone = None
        for layout in LAYOUTS:
            rows = [line.split("\t") for line in self.ok(f"predict --model {run} --input domain.txt",
                                                         layout=layout).decode().splitlines()[1:]]
            alone = alone or rows
            for a, b in zip(alone, rows, strict=True):
                for p, q in zip(a[1:], b[1:], strict=True):
                    self.assertAlmostEqual(float(p), float(q), delta=3e-6)

    def test_the_test_set_is_not_read_before_the_end(self):
        """Other test rows, the same models to the bit."""
        write_labelled("other.tsv", 30, seed=11)
        plans = []
        for test in ("test", "other"):
            self.fit(f"--train train.tsv --test {test}.tsv", f"sees-{test}")
            plan = record(f"sees-{test}")["plan"]
            plans.append([plan["text"][key] for key in ("read", "batch")] +
                         [plan["classifier"][key] for key in ("rows", "epochs", "batch", "folds_held", "members")])
        self.assertEqual(*plans)  # there is time for all that is wanted
        a, b = (contents(f"sees-{test}/language-model/checkpoints") for test in ("test", "other"))
        self.assertEqual(sorted(map(os.path.basename, a)), sorted(map(os.path.basename, b)))
        said = [self.ok(f"predict --model sees-{test} --input corpus.txt") for test in ("test", "other")]
        self.assertEqual(*said)

    def test_it_goes_on_where_it_was_stopped(self):
        write_corpus("more.txt", 400, seed=31)
        arguments = f"{FIT} --train train.tsv --text more.txt --run "
        self.ok(arguments, ["straight"], timeout=280)
        whole = metrics("straight")
        for layout in ("1", "dp2"):
            run = f"stopped-{layout}"
            ranks, _ = LAYOUTS[layout]
            launcher = [self.mpiexec, "-n", str(ranks)] if ranks > 1 else []
            stops, spent = 0, 0
            for seen in (f"{run}/shards", f"{run}/language-model/metrics.jsonl",
                         f"{run}/networks/fold-1/metrics.jsonl", f"{run}/networks/fold-1.words",
                         f"{run}/networks/member-1/metrics.jsonl",
                         f"{run}/networks/fold-3.json"):
                job = subprocess.Popen([*launcher, self.ulmpi, *arguments.split(), run], env=self.environment,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                while job.poll() is None and (len(ranks_of(job.pid)) < ranks or not os.path.exists(seen)):
                    time.sleep(0.005)
                for rank in ranks_of(job.pid)[:1]:
                    os.kill(rank, signal.SIGTERM)
                _, said = job.communicate(timeout=120)
                self.assertIn(job.returncode, (75, 0), said.decode())
                stops += job.returncode == 75
                before = record(run)["spent"]  # of the starts before this one
                self.assertTrue(before > spent or before == spent == 0, f"{spent} s, then {before} s")
                spent = before
            self.assertGreater(stops, 2)
            said = json.loads(self.ok(arguments, [run], layout=layout, timeout=280))
            self.assertGreater(said["seconds"], spent)
            self.assertEqual(said["classifier"]["n"], 240)
            last = metrics(run)[-1]
            self.assertEqual(last["kind"], "cross-validation")
            if layout == "1":
                self.assertEqual(metrics(run), whole)
                for other, tensor in tensors("straight/model.h5").items():
                    self.assertEqual(tensor.tobytes(), tensors(f"{run}/model.h5")[other].tobytes(), other)
                self.assertEqual(stack_of(run), stack_of("straight"))

    def test_twenty_labels(self):
        write_rows("twenty.tsv", rows_of("good", 10, 1) + rows_of("bad", 9, 2) + rows_of("plain", 1, 3))
        said = self.fit("--train twenty.tsv --text domain.txt", "twenty")
        self.assertEqual((said["folds"], said["folds_held"], said["rows"]), (5, 5, 20))
        self.assertIn("classes with a single row, from which little can be learnt: 'plain'", self.said)

    def test_more_rows_than_the_minutes_allow(self):
        write_labelled("many.tsv", 150000, seed=9)
        said = json.loads(self.ok("fit --init-from general --minutes 0.6 --threads-per-rank 1 --train many.tsv "
                                  "--test test.tsv --run many", timeout=280))
        self.assertLess(said["rows"], 150000)
        self.assertIn(f"a sample of {said['rows']} of the 150000 rows", self.said)
        self.assertIn(f"{said['rows']} of 150000 labels", self.said)

    def test_more_test_rows_than_the_minutes_allow(self):
        write_labelled("long.tsv", 150000, seed=9)
        said = json.loads(self.ok("fit --init-from general --minutes 0.5 --threads-per-rank 1 --train train.tsv "
                                  "--test long.tsv --stage-2 off --networks 2 --epochs 2 --run sampled", timeout=280))
        n = said["classifier"]["n"]
        self.assertEqual((said["epochs"], said["test_rows"]), (2, 150000))
        self.assertTrue(500 <= n <= 150000, n)  # all of them on a fast machine
        self.assertEqual(said["baselines"]["linear"]["n"], n)
        self.assertIn(f"Error on {n} of 150000 test texts" if n < 150000 else "Error on 150000 test texts", self.said)
        last = metrics("sampled")[-1]
        self.assertEqual((last["kind"], last["n"]), ("test", n))

    def test_a_class_of_the_test_set_alone_is_named(self):
        with open("test.tsv") as test:
            rows = [tuple(line.rstrip("\n").split("\t")) for line in test][1:]
        write_rows("rare.tsv", [("a-rare-one", "a dog"), *rows, ("rare", "a cat")])
        said = self.fit("--train train.tsv --test rare.tsv --networks 2 --epochs 4", "rare")
        self.assertIn("note: 2 of the 92 texts of --test rare.tsv are of classes that --train has no text of: 'a-rare-one', "
                      "'rare'. They are left out", self.said)
        self.assertIn("(2 test texts are left out", self.said)
        self.assertEqual((said["classifier"]["n"], said["test_left_out"]), (90, 2))
        same = self.fit("--train train.tsv --test test.tsv --networks 2 --epochs 4", "not-rare")
        self.assertEqual(said["classifier"]["error"], same["classifier"]["error"])

    def test_refusals(self):
        write_rows("one.tsv", rows_of("good", 20, 1))
        self.refused("--train one.tsv --run r", "one.tsv has one class alone")
        write_rows("strange.tsv", [*rows_of("good", 1, 1), ("strange", "a dog"), ("odd", "a cat")])
        self.refused("--train train.tsv --test strange.tsv --run r", "--test strange.tsv: 2 of its 3 texts",
                     "not among the 3 of --train: 'odd', 'strange'")
        self.refused("--train train.tsv --minutes 0.01 --run r", "--minutes", "or more")
        self.refused("--train train.tsv --text missing.txt --run r", "missing.txt")
        self.refused("--train train.tsv --text corpus.txt --stage-2 off --pseudo-labels off --run r", "--text", "both are")
        self.refused("--train train.tsv --pseudo-labels on --run r", "--pseudo-labels", "give --text")
        self.refused("--train train.tsv --networks 9 --run r", "--networks", "between 2 and 8")
        self.refused("--train train.tsv --epochs 0 --run r", "--epochs")
        self.refused("--train train.tsv --run general", "holds something else than a fit")
        self.refused("--train train.tsv --init-from nowhere --run r", "nowhere")
        self.refused("--train train.tsv --tp 3 --run r", "rank")
        self.assertFalse(os.path.exists("r"))

    def test_another_task_in_the_same_folder(self):
        write_rows("some.tsv", rows_of("good", 40, 1) + rows_of("bad", 40, 2))
        self.fit("--train some.tsv --text domain.txt", "kept")
        before = contents("kept")
        for changed, named in (("--train train.tsv --text domain.txt", "--train"),
                               ("--train some.tsv --text corpus.txt", "--text"),
                               ("--train some.tsv", "--text"),
                               ("--train some.tsv --text domain.txt --seed 2", "--seed"),
                               ("--train some.tsv --text domain.txt --test train.tsv", "began with another --test")):
            self.refused(f"{changed} --run kept", named)
        self.assertEqual(contents("kept"), before)

    def test_text_that_the_tokenizer_covers_badly_is_named(self):
        write_rows("greek.tsv", [(label, "ένα καλό βιβλίο" if label == "good" else "μια άλλη ταινία")
                                 for label in ("good", "bad") * 20])  # a token a byte
        self.fit("--train greek.tsv", "greek")
        self.assertIn("takes 1.00 tokens for each byte of the texts of --train", self.said)
        self.assertNotIn("tokens for each byte", self.fit_said("--train train.tsv --test test.tsv", "covered"))

    def fit_said(self, arguments, run):
        self.fit(arguments, run)
        return self.said


if __name__ == "__main__":
    main()
