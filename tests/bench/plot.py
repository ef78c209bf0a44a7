"""Plots of the tables in docs/performance.md and docs/scale.md, as SVG.

The rule: a plot is made of its table's text, so that it cannot show other figures; a test compares the two.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from docs.site.drawing import WIDTH, Drawing

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
SHADES = ("blue", "green", "red", "ink", "soft")
STYLE = "polyline { fill: none; stroke-width: 2; }\n" + "".join(
    f".bar{place} {{ fill: var(--{shade}); }} .stroke{place} {{ stroke: var(--{shade}); }}\n"
    for place, shade in enumerate(SHADES)
)


@dataclass(frozen=True)
class Plot:
    """What is plotted of a page's table: `head` is how its first line begins."""

    page: str
    head: str
    title: str
    columns: tuple[int, ...] = ()
    """Of a bar plot: the columns, one bar each; without, the plot has a line for each row."""
    compared: bool = False
    """Whether 1 is marked, as in a ratio."""


PLOTS = {
    "plot-calls": Plot("performance.md", "|  | by hand", "Instructions of a call, by hand = 1", (6,), compared=True),
    "plot-peers": Plot("performance.md", "|  | µs of CPU | times", "CPU of a small GET, µs", (1,)),
    "plot-imports": Plot("performance.md", "| what is run", "Starting, million instructions", (1,)),
    "plot-memory": Plot("performance.md", "| 10,000 held", "Memory of each, bytes", (1,)),
    "plot-growth": Plot("performance.md", "| calls at once | by hand", "CPU of a call, µs, by calls at once", (1, 2)),
    "plot-loads": Plot("scale.md", "| loads in a second", "Loads in a second, by users"),
    "plot-saves": Plot("scale.md", "| saves in a second", "Saves in a second, by users"),
    "plot-expiring": Plot(
        "scale.md", "| `expiring(store, 7)`", "expiring(store, 7), CPU seconds until the first, by users"
    ),
}


def plot(page: str, name: str) -> str:
    """The plot of the first table in the page's text that it is for."""
    wanted = PLOTS[name]
    head, *rows = table_in(page, wanted.head)
    rows = [row for row in rows if all(number(row[column]) is not None for column in wanted.columns)]
    return bars(wanted, head, rows) if wanted.columns else lines(wanted, head, rows)


def write(path: Path) -> None:
    """Writes the plots of a page that was changed."""
    text = path.read_text("utf-8")
    for name, wanted in PLOTS.items():
        if wanted.page == path.name:
            (PICTURES / f"{name}.svg").write_text(plot(text, name), "utf-8")


def table_in(page: str, head: str) -> list[list[str]]:
    """The cells of the table whose first line begins so, without the ruler."""
    text = page[page.index(f"\n{head}") + 1 :].partition("\n\n")[0]
    rows = [line for line in text.splitlines() if line.startswith("|") and not re.fullmatch(r"[| :-]+", line)]
    return [[cell.strip().replace("`", "") for cell in row.strip().strip("|").split("|")] for row in rows]


def number(cell: str) -> float | None:
    """The number with which a cell begins, if it does."""
    found = re.match(r"[\d,]+(?:\.\d+)?", cell)
    return float(found[0].replace(",", "")) if found else None


def numbers(cells: Sequence[str]) -> list[float | None]:
    """Those of several cells."""
    return [number(cell) for cell in cells]


def bars(wanted: Plot, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A bar for each row and column, with its figure."""
    drawing = Drawing(wanted.title, _described(head, rows, wanted.columns))
    drawing.text(8, 20, f"*{wanted.title}")
    most = max(number(row[column]) or 0 for row in rows for column in wanted.columns)
    left, y = 8.0, 44.0
    scale = (WIDTH - 78.0) / most
    for row in rows:
        drawing.text(left, y, row[0] or head[0])
        for place, column in enumerate(wanted.columns):
            y += 6
            length = (number(row[column]) or 0) * scale
            size = f'width="{length:.1f}" height="12" rx="2"'
            drawing.parts.append(f'<rect class="bar{place}" x="{left:g}" y="{y:g}" {size}/>')
            drawing.text(left + length + 6, y + 10, f"~{row[column].partition(' (')[0]}")
            y += 10
        y += 26
    if len(wanted.columns) > 1:
        y = _legend(drawing, [head[column].partition(",")[0] for column in wanted.columns], y)
    if wanted.compared:
        drawing.arrow((left + scale, 32), (left + scale, y - 22), kind="line")
    return drawing.svg(y - 8, style=STYLE)


def lines(wanted: Plot, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A line for each row; both axes are logarithmic. Leaves out a column whose head has no number: a slope."""
    columns = [0, *(place for place, cell in enumerate(head) if number(cell))]
    head, *rows = [[row[place] for place in columns] for row in (head, *rows)]
    drawing = Drawing(wanted.title, _described(head, rows, range(1, len(head))))
    drawing.text(8, 20, f"*{wanted.title}")
    across = [math.log10(each) for each in numbers(head[1:]) if each]
    values = [[math.log10(each) if each else None for each in numbers(row[1:])] for row in rows]
    known = [each for line in values for each in line if each is not None]
    low, high = math.floor(min(known)), math.ceil(max(known))
    left, right, top, bottom = 64.0, WIDTH - 32.0, 40.0, 260.0

    def at(x: float, y: float) -> tuple[float, float]:
        along = (x - across[0]) / (across[-1] - across[0])
        return left + along * (right - left), bottom - (y - low) / (high - low) * (bottom - top)

    for power in range(low, high + 1):
        _, y = at(across[0], power)
        drawing.arrow((left, y), (right, y), kind="line")
        drawing.text(left - 8, y + 4, f"~{10.0**power:,g}" if power < 0 else f"~{10**power:,}", anchor="end")
    for x, label in zip(across, head[1:], strict=True):
        drawing.text(at(x, low)[0], bottom + 18, f"~{label.partition(' ')[0]}", anchor="middle")
    for place, line in enumerate(values):
        points = [at(x, each) for x, each in zip(across, line, strict=True) if each is not None]
        drawing.parts.append(
            f'<polyline class="stroke{place}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'
        )
        drawing.parts += [f'<circle class="bar{place}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points]
    return drawing.svg(_legend(drawing, [row[0] for row in rows], bottom + 44) - 8, style=STYLE)


def _legend(drawing: Drawing, names: Sequence[str], y: float) -> float:
    for place, name in enumerate(names):
        x = 8.0 + 232 * (place % 2)
        drawing.parts.append(f'<rect class="bar{place}" x="{x:g}" y="{y - 9:g}" width="12" height="10" rx="2"/>')
        drawing.text(x + 18, y, name)
        y += 20 if place % 2 or place == len(names) - 1 else 0
    return y


def _described(head: Sequence[str], rows: Sequence[Sequence[str]], columns: Sequence[int]) -> str:
    cells = ([f"{head[column]} {row[column]}" for column in columns if row[column]] for row in rows)
    return "; ".join(f"{row[0]}: {', '.join(known)}" for row, known in zip(rows, cells, strict=True)) + "."


if __name__ == "__main__":
    for named in ("performance.md", "scale.md"):
        write(PICTURES.parent / named)
