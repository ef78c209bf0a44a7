"""The recording of the demo: `python -m docs.site.recording` runs it and writes docs/pictures/demo.svg.

The rule: the picture is the screen at the end of the demo; nothing in it moves.
"""

import os
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path
from textwrap import wrap

from docs.site.drawing import MONO, Drawing

PICTURE = Path(__file__).parents[1] / "pictures" / "demo.svg"
COMMAND = "python -m SlyAPI demo"
COLUMNS = 66
STYLE = f"""
.screen {{ fill: var(--box); stroke: var(--edge); }}
.typed {{ font: 13px {MONO}; white-space: pre; }}
.head {{ fill: var(--blue); font-weight: 600; }}
"""


def record() -> list[str]:
    """The lines that the demo prints in an empty folder, without a browser."""
    with tempfile.TemporaryDirectory() as folder:
        env = {"PATH": os.environ["PATH"], "HOME": folder, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
        words = [sys.executable, *COMMAND.split()[1:]]
        demo = subprocess.run(
            words, cwd=folder, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True
        )
        return demo.stderr.splitlines()


def svg(lines: list[str]) -> str:
    """The picture of a recording."""
    drawing = Drawing("A recording of the demo", "\n".join(lines))
    height = 20
    drawing.parts.append("")  # the screen, painted when its height is known
    for line in [f"$ {COMMAND}", *lines]:
        indent = " " * (len(line) - len(line.lstrip()))
        for part in wrap(line, COLUMNS, subsequent_indent=indent, break_on_hyphens=False) or [""]:
            height += 19
            kind = "typed head" if part[:1].isdigit() or part.startswith("$") else "typed"
            drawing.parts.append(f'<text class="{kind}" x="16" y="{height}">{escape(part)}</text>')
    drawing.parts[0] = f'<rect class="screen" x="1" y="1" width="558" height="{height + 18}" rx="8"/>'
    dots = (f'<circle cx="{16 + 14 * number}" cy="16" r="4" fill="var(--edge)"/>' for number in range(3))
    drawing.parts[1:1] = dots
    return drawing.svg(height + 20, width=560, style=STYLE)


if __name__ == "__main__":
    PICTURE.write_text(svg(record()), encoding="utf-8")
