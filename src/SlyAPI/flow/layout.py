"""Lays out lines and tables for the width of a terminal. Pure.

The rule: lines break at spaces alone, so that a URL or a command can be copied; without a width nothing changes.
"""

import re
from collections.abc import Sequence

from ..web.next_steps import PROGRAM

_NARROWEST = 20
"""Columns: a text is not broken into shorter lines than this."""
HARD_SPACE = "\xa0"
"""A space at which no line breaks."""
_COMMAND = re.escape(PROGRAM) + r"(?: [\w./-]+(?!\S))*"


def wrapped(line: str, width: int | None, indent: str | None = None) -> list[str]:
    """The line in pieces that fit; later ones with `indent`, by default the line's own.

    A line to copy stays whole: one that is indented by four spaces, or has no space in it.
    """
    if width is None or len(line) <= width or line.startswith("    ") or " " not in line.strip():
        return [line]
    kept = re.sub(_COMMAND, lambda found: found[0].replace(" ", HARD_SPACE), line)
    if indent is None:
        indent = line[: len(line) - len(line.lstrip())]
    pieces = [""]
    for word in re.findall(" *[^ ]+", kept):  # not textwrap, whose import takes longer than `--help`
        if pieces[-1] and len(pieces[-1]) + len(word) > max(width, _NARROWEST):
            pieces.append(indent + word.lstrip(" "))
        else:
            pieces[-1] += word
    return [piece.replace(HARD_SPACE, " ") for piece in pieces]


def table(rows: Sequence[tuple[str, str]], column: int, width: int | None, *, plain: bool = False) -> list[str]:
    """Rows of a label and a text as lines; the texts begin at `column`, or below their label where that is narrow.

    `plain`: each row is one sentence, for a screen reader.
    """
    lines: list[str] = []
    for label, text in rows:
        line = f"{label} {text}".strip() if plain else f"{label:<{column}}{text}"
        longest = max(map(len, text.split()), default=0)
        if plain or width is None or len(line) <= width:
            lines += wrapped(line, width)
        elif width - column >= max(longest, _NARROWEST):
            padded = f"{label:<{column}}".replace(" ", HARD_SPACE)
            lines += wrapped(padded + text, width, " " * column)
        else:
            lines += [*([label] if label else []), *(f"  {piece}" for piece in wrapped(text, width - 2))]
    return [line.replace(HARD_SPACE, " ") for line in lines]
