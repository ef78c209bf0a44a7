"""What a release is: one version, in the project, the package, the changelog and the tag."""
from __future__ import annotations

import re
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
RELEASES = re.findall(r"^## (\S+)$", (ROOT / "docs" / "changelog.md").read_text(encoding="utf-8"), re.M)


def tags(*words: str) -> set[str]:
    """The tags of releases; none in an sdist, which has no repository."""
    ran = subprocess.run(["git", "-C", str(ROOT), "tag", *words], capture_output=True, text=True, check=False)
    return {name for name in ran.stdout.split() if re.fullmatch(r"v\d+\.\d+\.\d+\w*", name)}


def test_the_changelog_begins_with_the_version_of_the_project_and_goes_back_in_order() -> None:
    assert (RELEASES[0], version("SlyAPI")) == (VERSION, VERSION)
    numbers = [tuple(map(int, release.split("."))) for release in RELEASES]
    assert numbers == sorted(set(numbers), reverse=True)


def test_a_tag_names_the_version_of_its_commit_and_is_in_the_changelog() -> None:
    assert tags("--points-at", "HEAD") <= {f"v{VERSION}"}
    assert {tag.removeprefix("v") for tag in tags()} <= set(RELEASES)
