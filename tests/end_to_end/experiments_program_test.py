"""The rows of the experiments' tables that the program itself makes, on a set that can be learnt: stage 2 is made once, what
is finished is not run again, and the recorded commands give the recorded figure.
experiments_program_test.py ULMPI MPIEXEC SCRIPTS_FOLDER"""

import contextlib
import dataclasses
import gzip
import io
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from workshop import Workshop, main, write_labelled

sys.path.insert(0, os.path.join(os.path.abspath(sys.argv.pop(3)), "experiments"))
sys.dont_write_bytecode = True
import cells  # noqa: E402
import labelled  # noqa: E402
import ours  # noqa: E402
import table  # noqa: E402
import vocabularies  # noqa: E402

SHAPE = "--num-layers 2 --hidden-size 48 --num-attention-heads 4 --seq-length 32 --activation swiglu --linear-bias off"


class Experiments(Workshop):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ok(f"pretrain --data shards {SHAPE} --train-steps 60 --global-batch-size 16 --lr 1e-2 --warmup-steps 10 "
               "--threads-per-rank 1 --run one", timeout=300)
        os.makedirs("data/trec6")
        for name, rows, seed in (("train", 90, 2), ("test", 60, 3)):
            write_labelled(f"{name}.tsv", rows, seed)
            with open(f"{name}.tsv", "rb") as plain, gzip.open(f"data/trec6/{name}.tsv.gz", "wb") as packed:
                shutil.copyfileobj(plain, packed)
        os.environ.update(cls.environment)
        os.environ["PATH"] = os.path.dirname(cls.mpiexec) + os.pathsep + os.environ["PATH"]
        os.environ["ULMPI_LR"] = "0"  # of whoever runs a table: must not reach the program unrecorded
        labelled.FOLDS = 2  # enough here
        ours.RECIPES["scratch"] = dataclasses.replace(ours.RECIPES["scratch"], candidates=[["--lr", "1e-6"], ["--lr", "5e-3"]])
        cls.output = cls.run_table()
        cls.results = {record["method"]: record for record in cells.Records(Path("work/results.jsonl")).all()}

    @classmethod
    def tearDownClass(cls):
        del os.environ["ULMPI_LR"]
        super().tearDownClass()

    @classmethod
    def run_table(cls, model="one", status=0, work="work", only=tuple(ours.RECIPES)):
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            ended = table.main(["--task", "trec6", "--data", "data", "--labels", "60", "--seeds", "1", "--work", work,
                                "--init-from", model, "--ulmpi", cls.ulmpi, "--ranks", "1", "--only", *only])
        if ended != status:
            raise AssertionError(output.getvalue())
        return output.getvalue()

    def test_every_recipe_has_learnt(self):
        self.assertEqual(list(self.results), list(ours.RECIPES))
        for record in self.results.values():
            self.assertEqual((record["rows"], record["n"]), (60, 60))
            self.assertLess(record["error"], 0.4)  # chance: 0.67

    def test_ensembles_and_vocabularies_by_name_alone(self):
        vocabularies.VOCABULARY = "330"
        self.run_table(work="more", only=("ensemble", "distilled", "transferred-vocabulary"))
        found = {record["method"]: record for record in cells.Records(Path("more/results.jsonl")).all()}
        self.assertEqual(list(found), ["transferred-vocabulary", "ensemble", "distilled"])
        for record in found.values():
            self.assertLess(record["error"], 0.4)
            self.assertTrue(0 <= record["calibration_error"] <= 1)
        own = found["transferred-vocabulary"]["commands"]
        self.assertEqual(sum("--vocab-size 330" in command for command in own), 1)
        self.assertEqual(sum("--transfer-vocabulary on" in command for command in own), 1)
        seeds = [command.split("--seed ")[1].split()[0] for command in found["ensemble"]["commands"] if "--seed" in command]
        self.assertEqual(seeds, ["1", "101", "201"])
        distilled = [command for command in found["distilled"]["commands"] if "finetune classifier" in command]
        self.assertEqual(len(distilled), 1)  # the networks are those of the ensemble's row
        self.assertIn("--distill-from WORK/ensembles/", distilled[0])
        self.assertEqual(os.listdir("more/cells"), [])

    def test_with_words(self):
        (domain,) = Path("work/domain").iterdir()  # which is not made again
        self.run_table(only=("with-words",))
        record = cells.Records(Path("work/results.jsonl")).all()[-1]
        self.assertEqual(record["method"], "with-words")
        self.assertLess(record["error"], 0.4)
        fitted = record["commands"][-2]
        self.assertIn(f"fit --init-from WORK/domain/{domain.name}/run ", fitted)
        self.assertIn(" --stage-2 off --networks 2 ", fitted)
        self.assertNotIn("TEST", fitted)
        self.run_table(only=("pseudo-labels",))
        record = cells.Records(Path("work/results.jsonl")).all()[-1]
        self.assertEqual(record["method"], "pseudo-labels")
        self.assertIn(f" --text WORK/domain/{domain.name}/text.txt ", record["commands"][-2])
        self.assertEqual(len(cells.Records(domain / "parts.jsonl").all()), 1)

    def test_scratch_chooses_its_own_rate(self):
        record = self.results["scratch"]
        self.assertEqual(record["options"]["options"][-2:], ["--lr", "5e-3"])
        self.assertFalse([command for command in record["commands"] if "--init-from" in command])
        shape = [command for command in record["commands"] if "finetune classifier" in command][0]
        self.assertIn("--num-layers 2 --hidden-size 48 --num-attention-heads 4", shape)
        self.assertIn("--activation swiglu --linear-bias off", shape)

    def test_stage_two_is_made_once(self):
        (domain,) = Path("work/domain").iterdir()
        self.assertEqual(len(cells.Records(domain / "parts.jsonl").all()), 1)
        self.assertEqual(len((domain / "text.txt").read_text().splitlines()), 90)  # all training texts, no test text
        for method, starts in {"three-stages": f"WORK/domain/{domain.name}/run", "last-layer": f"WORK/domain/{domain.name}/run",
                               "without-stage-2": "MODEL"}.items():
            self.assertIn(f"finetune classifier --init-from {starts} ", self.results[method]["commands"][-2])

    def test_a_model_that_is_missing_is_found_before_work_starts(self):
        before = sorted(Path("work").iterdir())
        self.assertIn("--init-from nowhere: ", self.run_table("nowhere", status=2))
        self.assertEqual(sorted(Path("work").iterdir()), before)

    def test_what_is_finished_is_not_run_again(self):
        before = Path("work/results.jsonl").read_bytes()
        self.assertEqual(self.run_table().count("is finished"), len(ours.RECIPES))
        self.assertEqual(Path("work/results.jsonl").read_bytes(), before)
        self.assertEqual(os.listdir("work/cells"), [])

    def test_the_commands_repeat_the_figure(self):
        record = self.results["three-stages"]
        train, test = (labelled.read_rows(Path(f"{name}.tsv")) for name in ("train", "test"))
        folder = Path("work/cells/trec6-60-0-three-stages/report")
        labelled.write_rows(folder / "rows.tsv", labelled.draw(train, 60, 0))
        labelled.write_lines(folder / "texts.txt", [text for _, text in test])
        environment = {name: value for name, value in os.environ.items() if name != "ULMPI_LR"}
        for command in record["commands"][-2:]:
            words = [self.ulmpi if word == "ulmpi" else word.replace("WORK/", "work/") for word in shlex.split(command)]
            subprocess.run(words, check=True, capture_output=True, env=environment)
        said = [line.split("\t")[0] for line in (folder / "said.tsv").read_text().splitlines()[1:]]
        shutil.rmtree(folder.parent)
        self.assertEqual(cells.unpack(record["wrong"], 60), [int(own != label) for own, (label, _) in zip(said, test)])
        self.assertEqual(record["error"], sum(cells.unpack(record["wrong"], 60)) / 60)


if __name__ == "__main__":
    main()
