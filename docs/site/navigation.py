"""The site's navigation, from `docs/index.md`: its headings and its lists of links are the tree.

The rule: one line in `docs/index.md` is all that a new page needs.
"""

import re
from typing import NamedTuple

FIRST_CALLS = "from-the-providers-console-to-the-first-call"
FIRST_CALLS_PAGE = "first-calls.md"


class Link(NamedTuple):
    """A line of the index: the kind of page, the group of the line, the page's file, its title there, and the rest."""

    kind: str
    group: str
    page: str
    title: str
    about: str

    @property
    def caption(self) -> str:
        """What is above it in the sidebar."""
        return f"{self.kind}: {self.group[0].lower()}{self.group[1:]}" if self.group else self.kind


_LINE = re.compile(
    r"^## (?P<kind>Tutorial|How-to|Reference|Explanation): .+$"
    r"|^(?P<group>[A-Z][^\n:]+):$"
    r"|^- \[(?P<title>[^\]]+)\]\((?P<page>[\w-]+\.md)\):?(?P<about>.*(?:\n  .+)*)",
    re.M,
)


def links(index: str) -> list[Link]:
    """The pages in the order of the index."""
    found: list[Link] = []
    kind = group = ""
    for line in _LINE.finditer(index):
        if line["kind"]:
            kind, group = line["kind"], ""
        elif line["group"]:
            group = line["group"]
        elif kind:
            found.append(Link(kind, group, line["page"], line["title"], " ".join(line["about"].split())))
    return found


def toctrees(index: str) -> str:
    """What the site's index has in addition: the tree, which the sidebar shows."""
    trees: dict[str, list[str]] = {}
    for link in links(index):
        trees.setdefault(link.caption, []).append(f"{link.title} <{link.page.removesuffix('.md')}>")
    parts = [
        "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *lines, "```", ""])
        for caption, lines in trees.items()
    ]
    return "\n".join(parts)


def site_links(text: str) -> str:
    """The page's Markdown as the site has it: what the README describes is a page of its own there."""
    text = text.replace(f"(../README.md#{FIRST_CALLS})", f"({FIRST_CALLS_PAGE})")
    return re.sub(r"\(\.\./README\.md(#[\w-]+)\)", rf"({FIRST_CALLS_PAGE}\1)", text)


def first_calls(readme: str) -> str:
    """That page: the README's section on the consoles of three providers, with its headings one level higher."""
    section = re.search(r"^## From the provider's console.*?(?=^## )", readme, re.M | re.S)
    if section is None:
        raise ValueError("README.md has no section on the providers' consoles")
    text = re.sub(r"^#(#+ )", r"\1", section[0], flags=re.M).replace("](docs/", "](")
    return text.replace("(#a-first-real-api)", "(index.md#ten-lines)")
