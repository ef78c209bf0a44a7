"""docs/security.md: every threat has tests, and every test that it names exists."""
from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
_ROW = re.compile(r"\| (?P<threat>[^|]+) \| (?P<tests>[^|]*)\|")
_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def rows() -> dict[str, str]:
    """The tests' cell of each threat, by threat; a heading's is left out."""
    table = (ROOT / "docs" / "security.md").read_text(encoding="utf-8").partition("| --- | --- |\n")[2]
    found = [match for line in table.splitlines() if (match := _ROW.fullmatch(line))]
    assert len(found) == len([line for line in table.splitlines() if line.startswith("|")])
    return {row["threat"]: row["tests"].strip() for row in found if not row["threat"].startswith("**")}


@cache
def names_in(path: Path) -> set[str]:
    """The names of a file's tests, those in classes too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds) and node.name.startswith("test_")}


def test_every_threat_has_a_test_that_exists() -> None:
    assert len(rows()) > 30
    for threat, cell in rows().items():
        named = _TEST.findall(cell)
        assert named, threat
        assert len(named) == cell.count("`") // 2, f"{threat}: something else stands among its tests"
        for path, name in named:
            assert name in names_in(ROOT / "tests" / path), f"{threat}: {path}::{name}"


def test_every_heading_has_threats() -> None:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    headings = re.findall(r"^\| \*\*(.+)\*\* \| \|\n\| (?!\*\*)", text, re.MULTILINE)
    expected = ["The promise", "Token endpoint", "Refresh", "Files", "Redirect and browser"]
    assert headings == [*expected, "Grants without a browser, and clients", "API requests", "The broker"]
