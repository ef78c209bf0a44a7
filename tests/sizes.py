"""The figures of the house, which `python -m tests.sizes` prints and `tests/test_architecture.py` holds to budgets."""
from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src" / "SlyAPI"
TESTS = ROOT / "tests"

FUNCTION_LINES = 45
FILE_LINES = 400
FOLDER_FILES = 20
FOLDER_LINES = 4500


@cache
def lines_of(path: Path) -> int:
    return path.read_text("utf-8").count("\n")


def python_of(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*.py")) if not {"node_modules", ".tests"} & {*path.parts}]


def src_lines() -> int:
    return sum(map(lines_of, python_of(SRC)))


def test_lines() -> int:
    return sum(map(lines_of, python_of(TESTS)))


def rooms(top: Path) -> dict[str, tuple[int, int]]:
    """The number of files and of lines that each folder holds directly."""
    found: dict[str, tuple[int, int]] = {}
    for path in python_of(top):
        name = path.parent.relative_to(top.parent).as_posix()
        files, lines = found.get(name, (0, 0))
        found[name] = files + 1, lines + lines_of(path)
    return found


def long_files() -> dict[str, int]:
    files = {path.relative_to(SRC).as_posix(): lines_of(path) for path in python_of(SRC)}
    return {name: lines for name, lines in files.items() if lines > FILE_LINES}


@cache
def long_functions() -> dict[str, int]:
    found: dict[str, int] = {}
    for path in python_of(SRC):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    found[f"{path.relative_to(SRC).as_posix()}::{node.name}"] = lines
    return found


def full_rooms() -> dict[str, tuple[int, int]]:
    return {
        name: (files, lines)
        for name, (files, lines) in rooms(SRC).items()
        if files > FOLDER_FILES or lines > FOLDER_LINES
    }


# --- what tests import ---


@cache
def documented() -> frozenset[str]:
    """The modules that a page shows: what stands behind `from` or `import` there, or as a name in the reference."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "docs" / "site" / "api.py"]
    text = "\n".join(page.read_text("utf-8") for page in pages)
    return frozenset(re.findall(r"\bSlyAPI(?:\.\w+)*", text))


_IMPORT = re.compile(r"^\s*(?:from (SlyAPI[\w.]*) import (\([^)]*\)|.*)|import (SlyAPI[\w.]*))", re.M)


def modules_imported(path: Path) -> Iterator[str]:
    """By the text, because to parse every test takes as long as to run some."""
    for module, names, whole in _IMPORT.findall(path.read_text("utf-8")):
        for name in re.findall(r"\w+", names):
            file = SRC.parent.joinpath(*module.split("."), name)
            yield f"{module}.{name}" if file.with_suffix(".py").exists() or file.is_dir() else module
        if whole:
            yield whole


@cache
def inner_imports() -> dict[str, list[str]]:
    """The test files that import a module which no page documents, and which modules these are."""
    found: dict[str, list[str]] = {}
    for path in test_files():
        inner = sorted({name for name in modules_imported(path) if name not in documented()})
        if inner:
            found[path.relative_to(TESTS).as_posix()] = inner
    return found


def test_files() -> list[Path]:
    return [path for path in python_of(TESTS) if path.name not in ("__init__.py", "sizes.py")]


def share_of_inner_imports() -> float:
    return len(inner_imports()) / len(test_files())


def loose_tests() -> list[str]:
    return [path.name for path in sorted(TESTS.glob("test_*.py"))]


def main() -> None:
    for top in (SRC, TESTS):
        total = src_lines() if top is SRC else test_lines()
        print(f"{top.relative_to(ROOT)}: {total:,} lines in {len(python_of(top))} files")
        wings: dict[str, int] = {}
        for path in python_of(top):
            wing = path.relative_to(top).parts[0]
            wings[wing] = wings.get(wing, 0) + lines_of(path)
        for name, (files, lines) in sorted(rooms(top).items()):
            print(f"  {lines:6,}  {files:3} files  {name}")
        print("  by wing: " + ", ".join(f"{name} {lines:,}" for name, lines in sorted(wings.items())))
    print(f"functions over {FUNCTION_LINES} lines: {len(long_functions())}")
    for name, lines in long_functions().items():
        print(f"  {lines:4}  {name}")
    print(f"files over {FILE_LINES} lines: {len(long_files())}", *long_files())
    print(f"folders over {FOLDER_FILES} files or {FOLDER_LINES:,} lines:", *full_rooms())
    inner = inner_imports()
    share = f"{len(inner)} of {len(test_files())} ({share_of_inner_imports():.0%})"
    print(f"test files that import an inner module: {share}")
    for name, modules in inner.items():
        print(f"  {name}: {', '.join(modules)}")
    print(f"loose test files in tests/: {len(loose_tests())}", *loose_tests())


if __name__ == "__main__":
    main()
