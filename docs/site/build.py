"""Builds the site: copies the pages, adds what only the site has, runs Sphinx, writes llms.txt.

The rule: `docs/` stays as it is; the copy in `.tests/docs` is what Sphinx reads.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from docs.site import api, llms, navigation

DOCS = Path(__file__).resolve().parents[1]
SITE = DOCS / "site"
WORK = DOCS.parent / ".tests" / "docs"
SOURCE = WORK / "source"
OUTPUT = DOCS / "_site"


def main() -> int:
    """Sphinx's exit code."""
    shutil.rmtree(WORK, ignore_errors=True)
    shutil.rmtree(OUTPUT, ignore_errors=True)
    stage()
    for builder, output in (("html", OUTPUT), ("text", WORK / "text")):
        only = [str(SOURCE / f"{package}.rst") for package in api.PACKAGES] if builder == "text" else []
        words = ["-m", "sphinx", "-q", "-W", "--keep-going", "-b", builder, "-c", SITE, "-d", WORK / "doctrees", SOURCE]
        ran = subprocess.run([sys.executable, *map(str, words), str(output), *only], check=False)
        if ran.returncode:
            return ran.returncode
    llms.write(SOURCE, WORK / "text", OUTPUT)
    return 0


def stage() -> None:
    """The pages with the navigation and the pages of the API, as Sphinx reads them."""
    shutil.copytree(DOCS, SOURCE, ignore=shutil.ignore_patterns("_site", "site", "build", "*.py[co]", "__pycache__"))
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    pages = {path.name: navigation.site_links(path.read_text(encoding="utf-8")) for path in DOCS.glob("*.md")}
    pages[navigation.FIRST_CALLS_PAGE] = navigation.first_calls(readme)
    pages["index.md"] += f"\n{navigation.toctrees(pages['index.md'])}"
    pages["reference.md"] += "\n" + "\n".join(["```{toctree}", ":hidden:", "", *api.PACKAGES, "```", ""])
    pages |= {f"{package}.rst": text for package, text in api.pages().items()}
    for name, text in pages.items():
        (SOURCE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
