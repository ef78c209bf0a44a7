"""`llms.txt` and `llms-full.txt` (llmstxt.org): the site for language models and for `curl`.

The rule: each link leads to a page's Markdown, which the site has next to its HTML.
"""

import shutil
from pathlib import Path

from docs.site import api, navigation


def write(source: Path, api_text: Path, site: Path) -> None:
    """Adds the Markdown of all pages, the text of the API pages, and both lists to the site."""
    index = (source / "index.md").read_text(encoding="utf-8").partition("\n```{toctree}")[0]
    title, _, rest = index.partition("\n")
    summary = " ".join(rest.strip().partition("\n\n")[0].split())
    lines = [title, "", f"> {summary}"]
    full = [index]
    kind = ""
    for link in navigation.links(index):
        if link.kind != kind:
            lines += ["", f"## {link.kind}", ""]
            kind = link.kind
        shutil.copy(source / link.page, site / link.page)
        full.append((source / link.page).read_text(encoding="utf-8"))
        lines.append(f"- [{link.title}]({link.page})" + (f": {link.about}" if link.about else ""))
    lines += ["", "## API", ""]
    for package, purpose in api.PACKAGES.items():
        shutil.copy(api_text / f"{package}.txt", site / f"{package}.txt")
        full.append((api_text / f"{package}.txt").read_text(encoding="utf-8"))
        lines.append(f"- [{package}]({package}.txt): {purpose}")
    (site / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (site / "llms-full.txt").write_text("\n\n".join(full), encoding="utf-8")
