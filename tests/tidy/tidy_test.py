"""The style that a machine can see: short files and functions, no circle of includes, no dead header or source. That
includes run down the floors is seen by tests/parallel/includes_check.cmake. tidy_test.py SOURCE_FOLDER"""

import re
import sys
import unittest
from pathlib import Path

ROOT = Path(sys.argv.pop(1) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]).resolve()

MOST_LINES = 400
MOST_LINES_OF_FUNCTION = 70

FLOORS = ("base", "parallel", "data", "model", "checkpoints", "training", "pretrain", "finetune", "jobs")


def sources(*patterns, folders=(*FLOORS, "tests")):
    return sorted(file for folder in folders for pattern in patterns for file in (ROOT / folder).rglob(pattern))


def lines_of(file):
    return file.read_text(encoding="utf-8").split("\n")


def name_of(file):
    return file.relative_to(ROOT).as_posix()


def code_alone(text):
    """Without comments, directives and the insides of literals, on the same lines."""
    literal = r'R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\''
    def blank(match):
        return "\n" * match.group().count("\n") + ("" if match.group().startswith("/") else '""')
    text = re.sub(rf"//[^\n]*|/\*.*?\*/|(?<!\w){literal}", blank, text, flags=re.S)
    return re.sub(r"^[ \t]*#(?:\\\n|[^\n])*", lambda match: "\n" * match.group().count("\n"), text, flags=re.M)


def functions(text):
    """(first line, last line, head) of every function outside others. A brace opens a namespace, a type, or, where
    what stands before it has parameters, a function; all others are values."""
    found, open_braces, head, line = [], [], "", 1
    for part in re.split(r"([{};\n])", code_alone(text)):
        if part == "\n":
            line += 1
            head += " "
        elif part == "{":
            inside = next((kind for kind, *_ in reversed(open_braces) if kind != "scope"), None)
            words = re.sub(r"template\s*<.*?>\s*(?=\w)", "", head.strip())
            if inside:
                kind = "inside"
            elif re.match(r"(inline )?namespace\b|extern\b|(typedef )?(class|struct|union|enum)\b", words):
                kind = "scope"
            else:
                kind = "function" if "(" in words and "=" not in words.split("(")[0] else "inside"
            began = line - head.rstrip(" ").count("\n")
            open_braces.append((kind, began, words))
            head = ""
        elif part == "}":
            if open_braces:
                kind, began, words = open_braces.pop()
                if kind == "function":
                    found.append((began, line, words))
            head = ""
        elif part == ";":
            head = ""
        else:
            head += part
    return found


def includes(file):
    return [found[1] for line in lines_of(file) if (found := re.match(r'#include "([^"]+)"', line))]


class Tidy(unittest.TestCase):
    def test_files_are_short(self):
        files = sources("*.cpp", "*.hpp", "*.py", "*.sh", folders=(*FLOORS, "tests", "scripts"))
        self.assertGreater(len(files), 200)
        long = {name_of(file): count for file in files if (count := len(lines_of(file)) - 1) > MOST_LINES}
        self.assertEqual(long, {}, f"files of more than {MOST_LINES} lines")

    def test_functions_are_short(self):
        long, all_of_them = {}, 0
        for file in sources("*.cpp", "*.hpp"):
            for first, last, head in functions(file.read_text(encoding="utf-8")):
                all_of_them += 1
                if last - first + 1 > MOST_LINES_OF_FUNCTION:
                    long[f"{name_of(file)}:{first}"] = f"{last - first + 1} lines: {head[:80]}"
        self.assertGreater(all_of_them, 2000)
        self.assertEqual(long, {}, f"functions of more than {MOST_LINES_OF_FUNCTION} lines")

    def test_functions_are_found(self):
        text = 'namespace a {\nstruct B {\n  int f() const {\n    return "}{"[0];  // }\n  }\n  int x{1};\n};\n' \
               "template <class T>\nvoid g(T t,\n       int n) {\n  if (n) {\n  }\n}\nconst int k[]{f(1)};\n}\n"
        self.assertEqual([(first, last) for first, last, _ in functions(text)], [(3, 5), (10, 13)])

    def test_includes_go_in_no_circle(self):
        graph = {name_of(file): includes(file) for file in sources("*.hpp", folders=FLOORS)}
        state = {}

        def visit(path, way):
            self.assertNotEqual(state.get(path), "open", " -> ".join([*way, path]))
            if path in state or path not in graph:
                return
            state[path] = "open"
            for other in graph[path]:
                visit(other, [*way, path])
            state[path] = "done"

        for path in graph:
            visit(path, [])

    def test_what_checkpoints_say_is_spelt_once(self):
        """The keys of a run's metadata, but those that shards, options or metrics have as well."""
        keys = re.compile(r'"(lineage|progress|updates_by_group|imported)"')
        files = [name_of(file) for file in sources("*.cpp", "*.hpp", folders=FLOORS)
                 if keys.search(file.read_text(encoding="utf-8"))]
        self.assertEqual(files, ["checkpoints/run_record.cpp"])

    def test_pages_name_files_that_are_there(self):
        """In code type, with or without ending; experiments of the past keep the names of their time."""
        folders = "|".join((*FLOORS, "tests", "scripts", "docs"))
        pages = [page for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/FORMAT.md")]
                 if page.name not in ("LOG.md", "CHANGELOG.md", "results.md")]
        missing, named = [], 0
        for page in pages:
            for path in re.findall(rf"`((?:{folders})/[\w./-]*)`", page.read_text(encoding="utf-8")):
                named += 1
                place = ROOT / path
                if not (place.exists() or any(place.with_name(place.name + end).exists() for end in (".hpp", ".cpp"))):
                    missing.append(f"{name_of(page)}: {path}")
        self.assertGreater(named, 50)
        self.assertEqual(missing, [])

    def test_no_file_is_dead(self):
        """A header is included, a source is built."""
        headers = {path for file in sources("*.cpp", "*.hpp") for path in includes(file)} | {
            path for path in includes(ROOT / "main.cpp")}
        dead = [name_of(file) for file in sources("*.hpp") if name_of(file) not in headers]
        for file in sources("*.cpp"):
            lists = [folder / "CMakeLists.txt" for folder in file.parents if (folder / "CMakeLists.txt").exists()]
            name = file.relative_to(lists[0].parent).as_posix()
            if not re.search(rf"(?<![\w/]){re.escape(name)}\b", lists[0].read_text()):
                dead.append(name_of(file))
        self.assertEqual(dead, [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
