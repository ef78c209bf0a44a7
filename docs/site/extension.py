"""What Sphinx does for this site in addition: links from code to the API reference, GitHub's anchors, the search index.

The rule: each is one function of a page's tree; pages need no syntax for any of them.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

from docs.site import api

_ALIAS = re.compile(r"SlyAPI\.[\w.]+: .*", re.S)  # the text of an entry that only leads to another
_NAME = re.compile(r"(?:await |class )?(?P<name>[A-Za-z_][\w.]*)(?:\(.*\))?", re.S)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_post_transform(CodeLinks)
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-process-bases", _public_bases)
    app.connect("doctree-read", _forge_anchors)
    app.connect("html-page-context", _for_keyboards_and_screen_readers, priority=900)
    app.connect("build-finished", _search_index)
    app.connect("builder-inited", _no_search_of_sphinx)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = api.as_rst(lines)


def _signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """A default that is an object (`<function sleep>`) as `...`: Sphinx finds no types in what is not Python."""
    if name in api.NOT_MADE_BY_USERS:
        return "", None
    return signature and re.sub(r"<[^<>]*>", "...", signature), returns


def _public_bases(app: Sphinx, name: str, obj: Any, options: Any, bases: list[type]) -> None:
    known = api.described_classes()
    bases[:] = [base for base in bases if base in known or base.__module__ == "builtins"]


# --- links from code ---


class CodeLinks(SphinxPostTransform):
    """`OAuth2App.exchange_code` in a sentence leads to its entry of the API reference."""

    default_priority = 400

    def run(self, **kwargs: Any) -> None:
        objects = self.env.domains.python_domain.objects
        for literal in list(self.document.findall(nodes.literal)):
            full = full_name(literal.astext(), objects)
            if full and not _is_in_link_or_title(literal):
                entry, code = objects[full], literal.deepcopy()
                here = self.env.current_document.docname
                literal.replace_self(make_refnode(self.app.builder, here, entry.docname, entry.node_id, code))


def _is_in_link_or_title(node: nodes.Node) -> bool:
    parent = node.parent
    return parent is not None and (
        isinstance(parent, nodes.reference | nodes.title | addnodes.pending_xref) or _is_in_link_or_title(parent)
    )


def full_name(code: str, objects: Any) -> str | None:
    """The entry that the code of a sentence names, if it names one for certain.

    A class, alone or with a member (`OAuth2App.exchange_code`), a function whose name has an underscore, or anything
    with its package (`stores.expiring`).
    """
    found = _NAME.fullmatch(code)
    if not found:
        return None
    name = found["name"]
    if not (name[0].isupper() or "_" in name or "." in name):
        return None
    candidates = [name, *(f"{package}.{name}" for package in reversed(api.PACKAGES))]  # SlyAPI itself has aliases
    return next((full for full in candidates if full in objects and full.startswith("SlyAPI")), None)


# --- anchors ---


def _forge_anchors(app: Sphinx, doctree: nodes.document) -> None:
    """Each heading also has the anchor that a forge gives it: `#redirect_uri_mismatch`."""
    for section in doctree.findall(nodes.section):
        slug = section.get("slug")
        if slug and slug not in section["ids"]:
            section["ids"].insert(0, slug)


# --- access ---


def _for_keyboards_and_screen_readers(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """What WCAG 2 asks for and Sphinx lacks: code and tables that scroll can have the focus, a heading has its level,
    and a long signature is not a list of definitions without terms.
    """
    body = context.get("body", "").replace("<pre>", '<pre tabindex="0">')
    body = body.replace('<div class="table-wrapper', '<div tabindex="0" class="table-wrapper')
    context["body"] = re.sub(r'(?<="sig-paren">\(</span>)\s*<dl>(.*?)</dl>', _parameters, body, flags=re.S)
    tree = context.get("furo_navigation_tree", "")
    context["furo_navigation_tree"] = tree.replace('role="heading"', 'role="heading" aria-level="2"')


def _parameters(found: re.Match[str]) -> str:
    return found[1].replace("<dd>", '<div class="sig-line">').replace("</dd>", "</div>")


# --- search ---


def _no_search_of_sphinx(app: Sphinx) -> None:
    app.builder.search = False  # type: ignore[attr-defined]  # ours finds sections, from the disk too


def _search_index(app: Sphinx, failure: Exception | None) -> None:
    if failure is None and app.builder.name == "html":
        names = sorted(app.env.found_docs)
        entries = [entry for name in names for entry in entries_of(app.env.get_doctree(name), name)]
        text = json.dumps(entries, ensure_ascii=False, separators=(",", ":"))
        (Path(app.outdir) / "_static" / "search-index.js").write_text(f"window.searchIndex={text};\n", encoding="utf-8")


def entries_of(doctree: nodes.document, name: str) -> Iterator[tuple[str, str, str, str]]:
    """Address, page title, heading and text of each section, and of each entry of the API reference."""
    page = next(doctree.findall(nodes.title)).astext()
    for section in doctree.findall(nodes.section):
        heading = next(iter(section.findall(nodes.title))).astext()
        top = isinstance(section.parent, nodes.document)
        address = f"{name}.html" if top else f"{name}.html#{section.get('slug') or section['ids'][0]}"
        yield address, page, heading, _own_text(section)
    for entry in doctree.findall(addnodes.desc):
        signature = next(entry.findall(addnodes.desc_signature))
        if signature["ids"]:
            anchor = signature["ids"][0]
            content = next(iter(entry.findall(addnodes.desc_content)), nodes.container())
            text = _own_text(content)
            if not _ALIAS.fullmatch(text):
                yield f"{name}.html#{anchor}", page, signature.get("fullname") or anchor, text


def _own_text(node: nodes.Element) -> str:
    """The text, without that of sections and entries within."""
    inner = (nodes.section, addnodes.desc, nodes.title, addnodes.toctree, nodes.comment)
    blocks: list[str] = []
    for child in node.children:
        if isinstance(child, nodes.table):
            blocks += [entry.astext() for entry in child.findall(nodes.entry)]
        elif not isinstance(child, inner):
            blocks.append(child.astext())
    return " ".join(" ".join(blocks).split())
