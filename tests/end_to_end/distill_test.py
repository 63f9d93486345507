"""A classifier that learns what another says. Oracle: the loss, worked out from what both predict."""
import json
import os
import re
import shutil

import numpy
from workshop import LAYOUTS, SHAPE, Workshop, at_once, checkpoint, main, metrics, tensors, write_corpus

COMMON = "--global-batch-size 20 --threads-per-rank 1 --save-interval 3 --keep-last 10 --log-interval 1 --dropout 0.2"
STUDENT = (f"finetune classifier --tokenizer tokenizer.json --train train.tsv --test test.tsv --epochs 2 --lr 3e-3 {COMMON} "
           "--distill-from teacher.h5 --distill-text more.txt")


class Distill(Workshop):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        write_corpus("other.txt", 600, seed=9)
        cls.ok("data tokenizer --input other.txt --vocab-size 330 --output other.json")
        def teacher(seed):
            cls.ok("finetune classifier --tokenizer other.json --train train.tsv --epochs 4 --lr 1e-2 --threads-per-rank 1",
                   SHAPE, f"--seed {seed} --run teacher-{seed}")
        at_once(teacher, (1, 2))
        cls.ok("checkpoint ensemble teacher-1 teacher-2 --precision fp32 --output teacher.h5")
        with open("train.tsv") as rows, open("test.tsv") as more:
            cls.rows = [line.rstrip("\n").split("\t") for line in rows][1:]
            cls.texts = [line.rstrip("\n").split("\t")[1] for line in more][1:]
        with open("more.txt", "w") as out:
            out.write("\n\n".join(cls.texts) + "\n")  # empty lines are no texts

    def opinion(self, model, texts):
        out = self.ok(f"predict --model {model} --input -", input="".join(text + "\n" for text in texts).encode()).decode()
        header, *rows = [line.split("\t") for line in out.splitlines()]
        return header[1:], numpy.array([[float(p) for p in row[1:]] for row in rows])

    def refused(self, *command, said):
        done = self.run_ulmpi(*command)
        self.assertEqual(done.returncode, 2, done.stderr.decode())
        for words in said:
            self.assertIn(words, done.stderr.decode())

    def test_the_loss_is_that_of_the_mixed_targets(self):
        everything = [text for _, text in self.rows] + self.texts
        classes, teacher = self.opinion("teacher.h5", everything)
        hard = numpy.array([[float(label == name) for name in classes] for label, _ in self.rows])
        still = (STUDENT.replace("3e-3", "0").replace("--dropout 0.2", "--dropout 0").replace("size 20", f"size {len(everything)}")
                 + " --head-dropout 0 --head-dropout2 0")
        for weight in (0, 0.3, 0.9, 1):
            self.ok(still, SHAPE, f"--distill-weight {weight} --run still-{weight}")
            self.assertIn("last distilled loss", self.said)
            _, own = self.opinion(f"still-{weight}", everything)
            target = teacher.copy()
            target[:len(hard)] = (1 - weight) * hard + weight * target[:len(hard)]
            loss = -(target * numpy.log(own)).sum() / len(everything)
            self.assert_close(metrics(f"still-{weight}")[0]["loss"], loss, 1e-4, f"weight {weight}")

    def test_every_layout_learns_the_same_and_goes_on_without_its_teacher(self):
        runs = {layout: "run-" + re.sub(r"\W+", "-", layout) for layout in LAYOUTS}
        os.makedirs("away", exist_ok=True)

        def whole(layout):
            self.ok(STUDENT, SHAPE, "--run", runs[layout], layout=layout)
        at_once(whole, LAYOUTS)
        alone = metrics(runs["1"])
        shutil.copy("teacher.h5", "away/teacher.h5")
        os.remove("teacher.h5")
        try:
            for layout, run in runs.items():
                with self.subTest(layout=layout):
                    for a, b in zip(alone, metrics(run), strict=True):
                        self.assert_close(a["loss"], b["loss"], 2e-5, f"{a['kind']} of step {a['step']}")
                    last = alone[-1]["step"]
                    parts = "parts-" + run
                    shutil.copytree(run, parts)
                    os.remove(checkpoint(parts, last))
                    self.ok(STUDENT, SHAPE, "--run", parts, layout=layout)
                    a, b = tensors(checkpoint(run, last)), tensors(checkpoint(parts, last))
                    self.assertEqual(sorted(a), sorted(b))
                    for name, tensor in a.items():
                        self.assertEqual(tensor.tobytes(), b[name].tobytes(), name)
        finally:
            shutil.copy("away/teacher.h5", "teacher.h5")
        shown = json.loads(self.ok(f"checkpoint show {runs['1']}"))
        self.assertEqual(shown["format_version"], 6)
        self.ok(f"checkpoint slim {runs['1']} --output slim.h5")
        self.assertLess(json.loads(self.ok("checkpoint show slim.h5"))["format_version"], 3)
        self.refused(STUDENT.replace("--distill-from", "--distill-weight 0.5 --distill-from"), SHAPE, f"--run {runs['1']}",
                     said=["--distill-weight", "began with 0.9"])

    def test_it_comes_to_say_what_the_teacher_says(self):
        _, teacher = self.opinion("teacher.h5", self.texts)

        def distance(run, rate):
            longer = STUDENT.replace("--epochs 2", "--epochs 12").replace("3e-3", rate)
            self.ok(longer, SHAPE, f"--distill-weight 1 --run {run}", layout="dp2")
            _, own = self.opinion(run, self.texts)
            return numpy.abs(own - teacher).mean()
        self.assertLess(distance("taught", "5e-3"), 0.6 * distance("untaught", "0"))

    def test_refusals(self):
        plain = "finetune classifier --tokenizer tokenizer.json --train train.tsv --epochs 1"
        with open("train.tsv") as rows, open("two.tsv", "w") as out:
            out.writelines(row for row in rows if not row.startswith("plain"))
        with open("empty.txt", "w") as out:
            out.write("\n\n")
        for options, said in (
            ("--distill-text more.txt", ["--distill-text", "--distill-from"]),
            ("--distill-weight 0.5", ["--distill-weight", "--distill-from"]),
            ("--distill-weight 1.5 --distill-from teacher.h5", ["--distill-weight"]),
            ("--distill-from teacher.h5 --wide-features on", ["--wide-features", "--distill-from"]),
            ("--distill-from teacher.h5 --label-smoothing 0.1", ["--label-smoothing", "--distill-from"]),
            ("--distill-from nowhere.h5", ["nowhere.h5"]),
            ("--distill-from teacher.h5 --distill-text empty.txt", ["empty.txt", "no texts"]),
            ("--distill-from teacher.h5 --distill-text nowhere.txt", ["nowhere.txt"]),
        ):
            with self.subTest(options):
                self.refused(plain, SHAPE, options, "--run refused", said=said)
                self.assertFalse(os.path.exists("refused"))
        self.refused(plain.replace("train.tsv", "two.tsv"), SHAPE, "--distill-from teacher.h5 --run refused",
                     said=["the teacher has 3 classes, the training set 2"])


main()
