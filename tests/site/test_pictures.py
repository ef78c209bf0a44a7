"""The pictures in docs/pictures: each shows what the code, the demo and the tables say now."""
from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from docs.site import diagrams, recording
from tests.bench.plot import PICTURES, PLOTS, plot
from tests.test_architecture import WINGS

DOCS = PICTURES.parent
ALL = sorted(PICTURES.glob("*.svg"), key=lambda path: path.name)
SVG = "{http://www.w3.org/2000/svg}"
IMAGE = re.compile(r"!\[([^\]]*)\]\(((?:docs/)?pictures/[\w-]+\.svg)\)")


@pytest.mark.parametrize("name", diagrams.DRAWINGS)
def test_a_drawing_is_the_one_that_its_module_draws(name: str) -> None:
    drawn = diagrams.DRAWINGS[name]()
    assert (PICTURES / f"{name}.svg").read_text("utf-8") == drawn, "run: python -m docs.site.diagrams"


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_shows_the_figures_of_its_table(name: str) -> None:
    page = (DOCS / PLOTS[name].page).read_text("utf-8")
    assert (PICTURES / f"{name}.svg").read_text("utf-8") == plot(page, name), "run: python -m tests.bench.plot"


def test_every_wing_is_on_a_floor_above_those_that_it_imports() -> None:
    floors = {room: -number for number, (_, rooms) in enumerate(diagrams.FLOORS) for room in rooms}
    assert {*floors, *diagrams.APART} == {wing for wing in WINGS if not wing.startswith("__")} - {"SlyAPI"}
    for wing in floors:
        for below in set(WINGS[wing].split()) - {*diagrams.APART}:
            assert floors[below] < floors[wing], (wing, below)


@pytest.mark.slow
def test_the_recording_shows_what_the_demo_says(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    words = [sys.executable, *recording.COMMAND.split()[1:]]
    ran = subprocess.run(
        words, cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    picture = ET.parse(PICTURES / "demo.svg").getroot()
    recorded = picture.findtext(f"{SVG}desc") or ""
    shown = " ".join(line.text or "" for line in picture.iter(f"{SVG}text"))
    assert without_port(recorded) == without_port(ran.stderr.rstrip("\n")), "run: python -m docs.site.recording"
    assert shown.split() == f"$ {recording.COMMAND} {recorded}".split()


def without_port(text: str) -> str:
    return re.sub(r"(?<=127\.0\.0\.1:)\d+", "PORT", text)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_a_picture_is_light_has_both_colour_schemes_and_says_what_it_shows(path: Path) -> None:
    text = path.read_text("utf-8")
    root = ET.fromstring(text)
    assert len(text) < 20_000
    assert "prefers-color-scheme: dark" in text
    assert root.findtext(f"{SVG}title")
    assert len(root.findtext(f"{SVG}desc") or "") > 40
    assert not [part for part in root.iter() if part.tag == f"{SVG}script" or "href" in str(part.attrib)]


def test_every_picture_is_on_a_page_with_a_text_for_those_who_do_not_see_it() -> None:
    pages = [DOCS.parent / "README.md", *DOCS.glob("*.md")]
    used = [found for page in pages for found in IMAGE.findall(page.read_text("utf-8"))]
    assert {path.rpartition("/")[2] for _, path in used} == {path.name for path in ALL}
    assert [path for alt, path in used if len(alt) < 40] == []
