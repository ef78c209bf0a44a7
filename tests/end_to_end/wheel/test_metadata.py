"""The published files: what they contain, and what they say of themselves."""
from __future__ import annotations

import subprocess
import tarfile
import tomllib
from email.message import Message
from email.parser import Parser
from zipfile import ZipFile

import pytest

from tests.end_to_end.wheel.conftest import ROOT, Built

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]

LARGEST = 600_000
"""Bytes of the wheel."""


@pytest.fixture
def facts(built: Built) -> Message:
    with ZipFile(built.wheel) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(wheel.read(name).decode())


def source_files() -> set[str]:
    """The files below src that git has or would add."""
    listed = ("git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "src/SlyAPI")
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
    return {name for name in names if (ROOT / name).exists()}


def test_the_wheel_contains_the_whole_package_and_nothing_else(built: Built) -> None:
    with ZipFile(built.wheel) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == {name.removeprefix("src/") for name in source_files()}
    assert "SlyAPI/py.typed" in names
    assert built.wheel.name.endswith("-py3-none-any.whl")
    assert built.wheel.stat().st_size < LARGEST


def test_the_sdist_can_be_tested_and_contains_no_file_of_a_user(built: Built) -> None:
    with tarfile.open(built.sdist) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert source_files() <= names
    assert {"pyproject.toml", "README.md", "LICENSE", "tests/run", "docs/index.md"} <= names
    tops = {name.partition("/")[0] for name in names}
    assert tops <= {"src", "tests", "docs", "pyproject.toml", "README.md", "LICENSE", "PKG-INFO", ".gitignore"}


def test_the_metadata_agree_with_the_project(facts: Message) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (facts["Name"], facts["Version"]) == ("SlyAPI", project["version"])
    assert facts["License-Expression"] == "MIT"
    assert facts["Requires-Python"] == ">=3.11"
    assert facts.get_payload() == (ROOT / "README.md").read_text("utf-8")
    required = [text for text in facts.get_all("Requires-Dist", []) if "extra ==" not in text]
    assert sorted(text.partition(">")[0] for text in required) == ["aiohttp", "typing-extensions"]


def test_the_classifiers_name_the_versions_that_tests_run_on(facts: Message) -> None:
    known = facts.get_all("Classifier", [])
    versions = [text.rpartition(" ")[2] for text in known if text.startswith("Programming Language :: Python :: 3.")]
    assert versions == ["3.11", "3.12", "3.13"]  # 3.14 once it has been run
    assert "Typing :: Typed" in known
