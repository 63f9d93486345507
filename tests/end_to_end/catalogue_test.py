"""The quickstart's texts: no leak, no straddling, the same output for the same input. Oracle: a catalogue made by hand,
and properties of every row. catalogue_test.py SCRIPTS_FOLDER"""

import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

scripts = sys.argv.pop(1) if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", "..", "scripts")
sys.path.insert(0, scripts)
sys.dont_write_bytecode = True
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
import catalogue  # noqa: E402
import labelled_set  # noqa: E402

PACKAGES = """\
Package: chessmate
Section: games
Description: short form that the translation replaces
Description-md5: 1

Package: chessmate-data
Source: chessmate
Section: games
Description: data of the board player, long enough to be kept
Description-md5: 2

Package: libchessmate-dev
Source: chessmate (1.2-3)
Section: libdevel
Description: headers of the board player, long enough to be kept
Description-md5: 3

Package: netgauge
Section: contrib/net
Description: measures what passes through an interface every second
Description-md5: 4
"""
TRANSLATIONS = """\
Package: chessmate
Description-md5: 1
Description-en: plays ChessMate against you
 The games of Chess-mate are saved; CHESSMATE (a game) plays "chessmate" well.
 .
 Second   paragraph,
 over two lines.
"""


def stanza_lists():
    return list(catalogue.stanzas(PACKAGES.splitlines(True))), list(catalogue.stanzas(TRANSLATIONS.splitlines(True)))


def large_catalogue():
    """2000 sources in every kind of section, each with a library and a versioned twin."""
    packages = []
    sections = sorted(catalogue.CLASS_OF) + ["libs", "doc", "python", "utils"]
    for i in range(2000):
        name, section = f"tool{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)}", sections[i % len(sections)]
        text = f"{name} is number {i} in {section} and does the thing that number {i} does"
        packages.append({"Package": name, "Section": section, "Description": text})
        packages.append({"Package": f"{name}-2.{i % 7}", "Source": f"{name}-2.{i % 7} (9)", "Section": section,
                         "Description": "Newer than before: " + text})
        packages.append({"Package": f"lib{name}1", "Source": name, "Section": "libs", "Description": text + ", a library"})
    return packages


class Catalogue(unittest.TestCase):
    def test_stanzas_keep_continuation_lines(self):
        packages, translations = stanza_lists()
        self.assertEqual([p["Package"] for p in packages], ["chessmate", "chessmate-data", "libchessmate-dev", "netgauge"])
        self.assertEqual(catalogue.paragraphs(translations[0]["Description-en"]),
                         ["plays ChessMate against you",
                          'The games of Chess-mate are saved; CHESSMATE (a game) plays "chessmate" well.',
                          "Second paragraph, over two lines."])

    def test_names_and_labels_are_taken_out(self):
        entries = {e[0]: e for e in catalogue.entries(*stanza_lists())}
        self.assertEqual(entries["libchessmate-dev"][1:3], ("chessmate", "libdevel"))
        self.assertEqual(entries["netgauge"][2], "net")
        names = catalogue.name_words("chessmate", "chessmate")
        text = catalogue.without_words(" ".join(entries["chessmate"][3]), catalogue.LABEL_WORDS, names)
        self.assertEqual(text, "plays against you The of are saved; (a) plays well. Second paragraph, over two lines.")
        self.assertEqual(catalogue.without_words("Chess Mate, chess_mate! matechess", names), "matechess")
        self.assertEqual(catalogue.without_words("gameplay of libnet_game, network", frozenset({"game", "net", "libnet"})),
                         "gameplay of _, network")

    def test_a_family_is_one_source_whatever_its_version(self):
        for version in ("postgresql-13", "postgresql-15", "postgresql", "PostgreSQL9.6"):
            self.assertEqual(catalogue.family(version), "postgresql")
        self.assertEqual(catalogue.family("0ad"), "ad")
        self.assertEqual(catalogue.family("2048"), "2048")

    def test_properties_of_every_row(self):
        packages = large_catalogue()
        general, general_valid, rows = catalogue.prepare(packages, [])
        sizes = {part: len(rows[part]) for part in rows}
        self.assertGreater(sizes["train"], 5 * sizes["test"])
        self.assertGreater(sizes["valid"], 0)
        self.assertGreater(len(general_valid), 0)
        number_of = re.compile(r"number (\d+)")
        part_of_number = {}
        for part in rows:
            for label, text in rows[part]:
                words = set(re.findall(r"[a-z]+", text.lower()))
                self.assertFalse(words & catalogue.LABEL_WORDS, text)
                self.assertFalse([w for w in words if w.startswith("tool")], text)
                number = number_of.search(text).group(1)
                self.assertNotIn(number, part_of_number)  # one row a family, so no family straddles
                part_of_number[number] = part
        for line in general + general_valid:  # stage 1 has not seen what the task is tested on
            self.assertEqual(part_of_number.get(number_of.search(line).group(1), "train"), "train")
        self.assertFalse(set(general) & set(general_valid))
        self.assertEqual(catalogue.prepare(list(reversed(packages)), []), (general, general_valid, rows))

    def test_program_writes_the_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(f"{folder}/packages", "w") as file:
                for p in large_catalogue():
                    file.write("".join(f"{k}: {v}\n" for k, v in p.items()) + "\n")
            open(f"{folder}/none", "w").close()
            command = [sys.executable, f"{scripts}/catalogue.py", "--packages", f"{folder}/packages", "--translations",
                       f"{folder}/none", "--output", f"{folder}/out", "--labels", "100"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            with open(f"{folder}/out/train.tsv") as file:
                lines = file.read().splitlines()
            self.assertEqual(lines[0], "label\ttext")
            self.assertEqual(len(lines), 101)
            self.assertTrue(all(line.count("\t") == 1 for line in lines))
            self.assertEqual(sorted(os.listdir(f"{folder}/out")),
                             ["domain.txt", "domain.valid.txt", "general.txt", "general.valid.txt", "test.tsv", "train.tsv",
                              "valid.tsv"])
            command[3] = f"{folder}/none"
            empty = subprocess.run(command, capture_output=True, text=True)
            self.assertEqual(empty.returncode, 1)
            self.assertIn("too few packages", empty.stderr)


class LabelledSet(unittest.TestCase):
    def test_split_keeps_equal_texts_together(self):
        rows = [("a", f"Text number {i % 300} !") for i in range(600)] + [("a", f"text, number {i}") for i in range(300)]
        kept, split = labelled_set.split_off(rows, 0.1)
        self.assertEqual(len(kept) + len(split), 900)
        self.assertTrue(30 < len(split) < 180)
        numbers = [{re.search(r"\d+", text).group() for _, text in part} for part in (kept, split)]
        self.assertFalse(numbers[0] & numbers[1])

    def test_program(self):
        with tempfile.TemporaryDirectory() as folder:
            os.makedirs(f"{folder}/d/toy")
            os.makedirs(f"{folder}/d/wikitext-2")
            for name, text in {"toy/train.tsv.gz": "label\ttext\n" + "".join(f"{'ab'[i % 2]}\tsay \"{i}\"\n" for i in range(99)),
                               "toy/test.tsv.gz": "label\ttext\na\tx\n", "wikitext-2/train.txt.gz": " = T = \n\n word \n",
                               "wikitext-2/valid.txt.gz": "v\n"}.items():
                with gzip.open(f"{folder}/d/{name}", "wt") as file:
                    file.write(text)
            command = [sys.executable, f"{scripts}/labelled_set.py", "--data", f"{folder}/d", "--task", "toy", "--output",
                       f"{folder}/out"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            with open(f"{folder}/out/general.txt") as file:
                self.assertEqual(file.read(), "= T =\nword\n")
            count = 0
            for part in ("train", "valid"):
                with open(f"{folder}/out/{part}.tsv") as file:
                    count += len(file.read().splitlines()) - 1
            self.assertEqual(count, 99)
            command[5] = "nothing"
            absent = subprocess.run(command, capture_output=True, text=True)
            self.assertNotEqual(absent.returncode, 0)
            self.assertIn("holds no train.tsv", absent.stderr)


class Report(unittest.TestCase):
    def test_table_and_predictions(self):
        with tempfile.TemporaryDirectory() as folder:
            fit = {"kind": "fit", "rows": 4, "words_rows": 4, "classifier": {"error": 0.1}, "network": {"error": 0.2},
                   "baselines": {"majority": {"error": 2 / 3}, "linear": {"error": 0.15}}}
            files = {
                "stage1/metrics.jsonl": '{"kind":"train","loss":7.0}\n{"kind":"valid","loss":3.0,"perplexity":20.09}\n',
                "text/test.tsv": "label\ttext\n" + "".join(f"{'abb'[i % 3]}\ttext {i}\n" for i in range(30)),
                "scratch/metrics.jsonl": '{"kind":"train","loss":1}\n{"kind":"test","error":0.25,"n":30}\n',
                "fit/report.json": json.dumps(fit),
                "ten.tsv": "label\ta\tb\n" + "b\t0.2\t0.8\n" * 10,
            }
            for name, text in files.items():
                os.makedirs(os.path.dirname(f"{folder}/{name}"), exist_ok=True)
                with open(f"{folder}/{name}", "w") as file:
                    file.write(text)
            report = subprocess.run([sys.executable, f"{scripts}/quickstart_report.py", folder, "english"], check=True,
                                    capture_output=True, text=True).stdout
            self.assertRegex(report, r"(?s)with the words +10.0.*words \(TF-IDF\) +15.0.*alone +20.0.*scratch +25.0.*commonest class +66.7")
            for part in ("from english", "1,097 to 20", "4 labels", "b, 80 %\n      text 1\n", "b, 80 %  (truth: a)\n      text 0\n"):
                self.assertIn(part, report)


if __name__ == "__main__":
    unittest.main()
