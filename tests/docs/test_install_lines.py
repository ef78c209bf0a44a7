"""What messages and pages install: this SlyAPI by its folder, and packages by name, until SlyAPI is published.

The rule: `SlyAPI.web.next_steps.PUBLISHED` decides. Whoever switches it reads here which lines of the pages change.
"""
from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from SlyAPI.web import next_steps

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "examples").glob("*.py"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = {
    extra: re.split("[<>=]", requirement)[0]
    for extra, (requirement,) in PROJECT["optional-dependencies"].items()
    if extra != "jwt"  # the older name of jose
}
"""The package that each extra brings."""


def lines_that_mislead(text: str, published: bool) -> list[str]:
    """Lines that bring another SlyAPI than this one, or that the publication made needless."""
    if published:
        packages = "|".join(map(re.escape, PACKAGES.values()))
        wrong = re.compile(rf"not on PyPI|pip install (['\"]?)({packages})\1($|[\s`)])")
    else:
        command = r"\b(pip|pipx|uv)( \S+)* (install|add|--with)( [^\s`|&]+)*"
        wrong = re.compile(rf"SlyAPI\[|{command} ['\"]?SlyAPI(['\"\s`<>=]|$)")
    return [line for line in text.splitlines() if wrong.search(line)]


@pytest.mark.parametrize("published", [False, True])
def test_the_rule_itself_knows_what_misleads(published: bool) -> None:
    until = ["SlyAPI is not on PyPI yet", "needs `pip install joserfc`.", "$ pip install 'psycopg[binary]'"]
    after = ["python -m pip install SlyAPI", "pip install 'SlyAPI[jose]'", "uv add SlyAPI", "pip install 'SlyAPI>=1'"]
    both = ["pip install . && python -m SlyAPI demo", "pip install '.[jose]' starlette", "pip install authlib requests"]
    assert lines_that_mislead("\n".join([*until, *after, *both]), published) == (until if published else after)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_installs_this_slyapi_and_no_other(page: Path) -> None:
    assert lines_that_mislead(page.read_text(encoding="utf-8"), next_steps.PUBLISHED) == []


@pytest.mark.parametrize("extra", PACKAGES)
def test_a_page_says_how_to_get_each_optional_package(extra: str) -> None:
    command = next_steps.install(extra, PACKAGES[extra]).partition("with: ")[2]
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert re.search(rf"{re.escape(command)}($|[\s`)])", pages, re.M), command


def calls_of_install() -> list[tuple[str, str]]:
    """What the modules of src pass to `install`, as `(extra, package)`."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "src").rglob("*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    calls = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "install"]
    return [(ast.literal_eval(call.args[0]), ast.literal_eval(call.args[1])) for call in calls]


def test_each_message_names_the_package_that_its_extra_brings() -> None:
    calls = calls_of_install()
    assert len(calls) >= 8
    assert [call for call in calls if PACKAGES[call[0]] != call[1]] == []


@pytest.mark.parametrize(("published", "words"), [(False, "'psycopg[binary]'"), (True, "'SlyAPI[postgres]'")])
def test_the_one_constant_decides_what_a_message_says(
    published: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_steps, "PUBLISHED", published)
    said = next_steps.install("postgres", "psycopg[binary]")
    assert said.replace('"', "'") == f"Install it with: pip install {words}"  # Windows' shells quote otherwise


def test_no_message_of_src_writes_the_command_itself() -> None:
    for path in {*(ROOT / "src").rglob("*.py"), *(ROOT / "src").rglob("*.txt")} - {Path(next_steps.__file__)}:
        assert lines_that_mislead(path.read_text(encoding="utf-8"), published=False) == [], path
