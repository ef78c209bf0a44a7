"""Sphinx's settings for the site; `docs/build` runs it.

The rule: pages are plain Markdown; whatever the site needs in addition is made from them here and in `extension.py`.
"""

import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

project = "SlyAPI"
author = "The SlyAPI authors"
copyright = author
version = release = version_of("SlyAPI")
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "notfound.extension", "docs.site.extension"]
nitpicky = True  # a type or a link that leads nowhere is an error
nitpick_ignore_regex = [
    ("py:.*", r"(?!SlyAPI\b).*"),  # other libraries' names; the site is built without a network
    ("py:.*", r".*\.[A-Z]"),  # type variables
]

myst_heading_anchors = 4
myst_enable_extensions = ["attrs_block"]
suppress_warnings = ["myst.header"]

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"

copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

html_theme = "furo"
html_title = f"SlyAPI {version}"
html_baseurl = os.environ.get("DOCS_URL", "")
html_static_path = [str(HERE / "static")]
html_css_files = ["site.css"]
templates_path = [str(HERE / "templates")]
html_additional_pages = {"search": "search.html"}
html_copy_source = False
html_domain_indices = False
html_show_sphinx = False
html_theme_options: dict[str, object] = {"top_of_page_buttons": []}
notfound_urls_prefix = urlsplit(html_baseurl).path.rstrip("/") + "/"  # a server shows that page at any address
notfound_context = {
    "title": "Page not found",
    "body": "<h1>Page not found</h1><p>This address does not lead to a page. "
    f'<a href="{notfound_urls_prefix}search.html">Search</a>, '
    f'or begin at <a href="{notfound_urls_prefix}index.html">the first page</a>.</p>',
}
