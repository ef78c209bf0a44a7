"""Run by PyInstaller when it freezes a program that imports SlyAPI: adds the pages and texts that are not Python.

The rule: modules need no entry here, because they are imported by statements, which PyInstaller reads.
"""

from pathlib import Path

_PACKAGE = Path(__file__).parents[2]

datas: list[tuple[str, str]] = [
    (str(path), str(path.parent.relative_to(_PACKAGE.parent)))
    for path in sorted(_PACKAGE.rglob("*"))
    if path.suffix in (".css", ".html", ".txt")
]
"""Pairs of a file and the folder for it in the frozen program."""
