"""SVG by hand: boxes, arrows and words, in colours for light and dark.

The rule: a drawing is 480 wide, so that it is readable on a phone; it has a title and a description for those who do
not see it; its colours follow `prefers-color-scheme`.
"""

from collections.abc import Sequence
from html import escape

WIDTH = 480
MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
STYLE = f"""
svg {{ font: 13px {SANS}; --ink: #1f2328; --soft: #59636e; --line: #6e7781; --box: #f6f8fa; --edge: #8c959f;
  --blue: #0550ae; --blue-box: #ddf4ff; --green: #116329; --green-box: #dafbe1; --red: #a40e26; --paper: #ffffff; }}
@media (prefers-color-scheme: dark) {{
  svg {{ --ink: #e6edf3; --soft: #a5afba; --line: #9198a1; --box: #212830; --edge: #656c76;
    --blue: #79c0ff; --blue-box: #12283f; --green: #7ee787; --green-box: #12301c; --red: #ff7b72; --paper: #131416; }}
}}
text {{ fill: var(--ink); }}
.soft {{ fill: var(--soft); font-size: 12px; paint-order: stroke; stroke: var(--paper); stroke-width: 3px; }}
.bold {{ font-weight: 600; }}
.code {{ font-family: {MONO}; font-size: 12px; }}
.box {{ fill: var(--box); stroke: var(--edge); }}
.blue {{ fill: var(--blue-box); stroke: var(--blue); }}
.green {{ fill: var(--green-box); stroke: var(--green); }}
.ghost {{ fill: none; stroke: var(--edge); stroke-dasharray: 4 3; }}
.arrow {{ fill: none; stroke: var(--line); stroke-width: 1.5; marker-end: url(#head); }}
.line {{ fill: none; stroke: var(--line); stroke-dasharray: 2 3; }}
#head path {{ fill: var(--line); }}
"""
HEAD = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0 L8 4 L0 8 z"/></marker></defs>'
)


class Drawing:
    """Parts, in the order in which they are painted."""

    def __init__(self, title: str, description: str) -> None:
        self.title, self.description = title, description
        self.parts: list[str] = []

    def box(self, x: float, y: float, w: float, h: float, lines: Sequence[str] = (), kind: str = "box") -> None:
        """A box with words in its middle; a line that begins with `'` is code, with `~` soft."""
        self.parts.append(f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="5"/>')
        top = y + h / 2 - 17 * (len(lines) - 1) / 2 + 4.5
        for number, line in enumerate(lines):
            self.text(x + w / 2, top + 17 * number, line, anchor="middle")

    def text(self, x: float, y: float, line: str, *, kind: str = "", anchor: str = "start") -> None:
        """One line of words, from its base line."""
        kinds = {"'": "code", "~": "soft", "*": "bold"}
        if line[:1] in kinds:
            kind, line = f"{kind} {kinds[line[0]]}".strip(), line[1:]
        attributes = f' class="{kind}"' if kind else ""
        attributes += f' text-anchor="{anchor}"' if anchor != "start" else ""
        self.parts.append(f'<text x="{x:g}" y="{y:g}"{attributes}>{escape(line)}</text>')

    def arrow(self, *points: tuple[float, float], kind: str = "arrow") -> None:
        """A line through the points, with a head at the last one."""
        path = " L".join(f"{x:g} {y:g}" for x, y in points)
        self.parts.append(f'<path class="{kind}" d="M{path}"/>')

    def svg(self, height: float, *, width: float = WIDTH, style: str = "") -> str:
        """The whole file."""
        size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
        labels = f"<title>{escape(self.title)}</title>\n<desc>{escape(self.description)}</desc>"
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
        return "\n".join([head, labels, f"<style>{STYLE}{style}</style>", HEAD, *self.parts, "</svg>\n"])
