"""The recording of the demo: `python -m docs.site.recording` runs it and writes docs/pictures/demo.svg.

The rule: every line appears when the demo printed it; without animation (`prefers-reduced-motion`, print) all lines are
there from the start.
"""

import os
import subprocess
import sys
import tempfile
import time
from html import escape
from pathlib import Path
from textwrap import wrap

from docs.site.drawing import MONO, Drawing

PICTURE = Path(__file__).parents[1] / "pictures" / "demo.svg"
COMMAND = "python -m SlyAPI demo"
COLUMNS = 66
TYPING = 1.0
"""Seconds between the typed command and its first line."""
STYLE = f"""
.screen {{ fill: var(--box); stroke: var(--edge); }}
.typed {{ font: 13px {MONO}; white-space: pre; }}
.head {{ fill: var(--blue); font-weight: 600; }}
@media (prefers-reduced-motion: no-preference) {{
  .typed {{ animation: hidden; }}
  @keyframes hidden {{ from, to {{ visibility: hidden; }} }}
}}
"""


def record() -> list[tuple[float, str]]:
    """Seconds since the start, and the line that the demo printed then; in an empty folder, without a browser."""
    with tempfile.TemporaryDirectory() as folder:
        env = {"PATH": os.environ["PATH"], "HOME": folder, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
        words = [sys.executable, *COMMAND.split()[1:]]
        began = time.monotonic()
        with subprocess.Popen(
            words, cwd=folder, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as demo:
            assert demo.stderr is not None
            return [(time.monotonic() - began, line.rstrip("\n")) for line in demo.stderr]


def svg(lines: list[tuple[float, str]]) -> str:
    """The picture of a recording."""
    drawing = Drawing("A recording of the demo", "\n".join(line for _, line in lines))
    height, shown = 20, 0.0
    drawing.parts.append("")  # the screen, painted when its height is known
    for seconds, line in [(0.0, f"$ {COMMAND}"), *((TYPING + at, line) for at, line in lines)]:
        shown = max(shown + 0.08, seconds)  # lines that came at once still come one by one
        indent = " " * (len(line) - len(line.lstrip()))
        for part in wrap(line, COLUMNS, subsequent_indent=indent, break_on_hyphens=False) or [""]:
            height += 19
            kind = "typed head" if part[:1].isdigit() or part.startswith("$") else "typed"
            place = f'class="{kind}" x="16" y="{height}" style="animation-duration:{shown:.2f}s"'
            drawing.parts.append(f"<text {place}>{escape(part)}</text>")
    drawing.parts[0] = f'<rect class="screen" x="1" y="1" width="558" height="{height + 18}" rx="8"/>'
    dots = (f'<circle cx="{16 + 14 * number}" cy="16" r="4" fill="var(--edge)"/>' for number in range(3))
    drawing.parts[1:1] = dots
    return drawing.svg(height + 20, width=560, style=STYLE)


if __name__ == "__main__":
    PICTURE.write_text(svg(record()), encoding="utf-8")
