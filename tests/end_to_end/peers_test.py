"""What the comparison with PyTorch asks of the program, and how its table is made of what both say; PyTorch itself is
not there. peers_test.py ULMPI MPIEXEC SCRIPTS_FOLDER"""

import argparse
import os
import sys
import unittest
from unittest import mock

ULMPI, MPIEXEC, SCRIPTS = map(os.path.abspath, (sys.argv.pop(1), sys.argv.pop(1), sys.argv.pop(1)))
sys.path.insert(0, os.path.join(SCRIPTS, "peers"))
sys.dont_write_bytecode = True
import step  # noqa: E402

SMALL = {"layers": 2, "width": 32, "heads": 2, "context": 16, "batch": 4, "vocabulary": 100}


class Peers(unittest.TestCase):
    def test_the_program_is_asked_for_the_same_shape(self):
        width, layers, ids = SMALL["width"], SMALL["layers"], SMALL["vocabulary"] + SMALL["context"]
        block = 12 * width * width + 13 * width  # qkv, out, up, down with biases; two norms
        with mock.patch.dict(os.environ, PATH=os.path.dirname(MPIEXEC) + os.pathsep + os.environ["PATH"]):
            for ranks in (1, 2):
                said = step.run(step.ours(ULMPI, SMALL, "fp32", ranks, 1, 3))
                self.assertEqual(said["params"], ids * width + layers * block + 2 * width)
                self.assertEqual(said["ranks"], ranks)

    def test_so_is_a_recurrent_one(self):
        shape = {"layers": 3, "embedding": 12, "width": 20, "context": 16, "batch": 4, "vocabulary": 100}
        said = step.run(step.ours(ULMPI, shape, "fp32", 1, 1, 3))
        layers = sum(4 * out * (into + out + 2) for into, out in ((12, 20), (20, 20), (20, 12)))
        self.assertEqual(said["params"], 100 * 12 + 100 + layers)

    def test_a_row_is_medians_of_the_rounds_and_the_faster_setting_of_pytorch(self):
        calls = []

        def run(command):
            calls.append(command)
            if command[0] == sys.executable:
                return {"tokens_per_s": 60 if "--compile" in command else 50, "peak_mb": 400}
            return {"tokens_per_s": [90, 150, 120][sum(one[0] != sys.executable for one in calls) - 1], "peak_mb": 100,
                    "instruction_peak_share": 0.875}

        with mock.patch.object(step, "run", run):
            row = step.compare(argparse.Namespace(ulmpi="ulmpi", rounds=3, steps=4), SMALL, "fp32", 1, 2)
        self.assertIn("| 120 | 2.00 (compiled) | 0.88 | 0.25 |", row)
        self.assertEqual(len(calls), 2 + 2 * 3)
        self.assertTrue(all("--compile" in command for command in calls[2:] if command[0] == sys.executable))


if __name__ == "__main__":
    unittest.main(verbosity=2)
