"""What the site makes of the pages: its navigation, its pages of the API, `llms.txt`. Without Sphinx."""
from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

import SlyAPI
from docs.site import api, navigation

ROOT = Path(__file__).parents[2]
INDEX = (ROOT / "docs" / "index.md").read_text("utf-8")


def test_every_page_has_one_place_in_the_navigation_and_one_kind() -> None:
    links = navigation.links(navigation.site_links(INDEX))
    pages = [link.page for link in links]
    assert sorted(pages) == sorted(
        [path.name for path in (ROOT / "docs").glob("*.md") if path.name != "index.md"] + [navigation.FIRST_CALLS_PAGE]
    )
    assert {link.kind for link in links} == {"Tutorial", "How-to", "Reference", "Explanation"}


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_a_page_is_markdown_that_a_forge_shows_too(page: Path) -> None:
    only_sphinx = r"^ *```+\{.*|^:::.*|\{(?:ref|doc|term|py:\w+)\}`.*|^\(.+\)=$"
    assert re.findall(only_sphinx, page.read_text("utf-8"), re.M) == []


def test_the_words_of_a_page_are_those_of_its_line() -> None:
    index = "# A\n\n## How-to: do it\n\nCall an API:\n\n- [One](one.md): first,\n  and more\n- [Two](two.md)\n"
    one, two = navigation.links(index)
    assert one == ("How-to", "Call an API", "one.md", "One", "first, and more")
    assert two.caption == "How-to: call an API"
    assert "One <one>\nTwo <two>" in navigation.toctrees(index)


def test_the_page_of_first_calls_is_the_readmes_section() -> None:
    page = navigation.first_calls((ROOT / "README.md").read_text("utf-8"))
    assert page.startswith("# From the provider's console to the first call\n")
    assert re.findall(r"^## (.+)$", page, re.M) == ["GitHub", "Google", "Discord"]
    assert "](docs/" not in page


@pytest.mark.parametrize("package", api.PACKAGES)
def test_every_public_name_is_on_the_page_of_its_package(package: str) -> None:
    page = api.pages()[package]
    for name in getattr(import_module(package), "__all__", ()):
        described = re.search(rf"^\.\. (?:autoclass|autofunction|py:data):: {name}$", page, re.M)
        assert described, name


def test_every_public_package_has_a_page() -> None:
    source = Path(SlyAPI.__file__).parent
    inner = {"cli", "redirect", "tokens", "transport", "names", "json_file"}  # not for users
    wings = {path.stem for path in source.iterdir() if path.suffix != ".typed" and not path.name.startswith("_")}
    assert {package.partition(".")[2] for package in api.PACKAGES} - {""} == wings - inner


def test_the_page_of_the_reference_names_every_package() -> None:
    text = (ROOT / "docs" / "reference.md").read_text("utf-8")
    assert [package for package in api.PACKAGES if f"`{package}`" not in text] == []


@pytest.mark.parametrize(
    ("markdown", "rst"),
    [
        ("`x` and ``y``", "``x`` and ``y``"),
        ("a *b* and c_ or d|e", "a \\*b\\* and c\\_ or d\\|e"),
        ("`**kwargs`", "``**kwargs``"),
    ],
)
def test_a_docstrings_markdown_becomes_text_with_code(markdown: str, rst: str) -> None:
    assert api.as_rst([markdown]) == [rst]
