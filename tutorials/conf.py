# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The site of `make docs`: guide, notebooks with their stored outputs, API from the docstrings."""

import inspect
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import pyro_hypergeo

project = "pyro_hypergeo"
author = "The pyro_hypergeo contributors"
copyright = author
version = release = pyro_hypergeo.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.mathjax"]
exclude_patterns = ["README.md", "toolbox"]  # README.md is the index of those who read the folder

html_theme = "furo"
html_title = f"pyro_hypergeo {version}"
html_show_copyright = False

myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3  # links to headings, as GitHub has them
nb_execution_mode = "off"

autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True

PARTS = [
    pyro_hypergeo.distributions,
    pyro_hypergeo.infer,
    pyro_hypergeo.ops,
    pyro_hypergeo.tables,
]


def _public_names() -> str:
    """A table of what `import pyro_hypergeo` offers, linked to the pages of its parts."""
    lines = []
    for name, value in vars(pyro_hypergeo).items():
        if name.startswith("_") or inspect.ismodule(value):
            continue
        part = next(part for part in PARTS if getattr(part, name, None) is value)
        lines.append(f"   ~{part.__name__}.{name}\n")
    return "```{eval-rst}\n.. autosummary::\n   :nosignatures:\n\n" + "".join(lines) + "```"


def _without_links_away(app: Sphinx, docname: str, text: str) -> str:
    """Links to files that are no pages, such as the repository's README, become plain text."""
    folder = Path(app.env.doc2path(docname)).parent

    def link(match: re.Match[str]) -> str:
        path = (folder / match["path"]).resolve()
        is_page = path.is_relative_to(app.srcdir) and app.env.path2doc(path) in app.env.found_docs
        is_away = path.is_dir() or (path.suffix == ".md" and path.exists() and not is_page)
        return match["text"] if is_away else match[0]

    return re.sub(r"(?<!!)\[(?P<text>[^]]*)\]\((?P<path>[^)#\s]+)(#[^)\s]*)?\)", link, text)


def _prepare(app: Sphinx, docname: str, source: list[str]) -> None:
    text = source[0].replace("<!-- public names -->", _public_names())
    source[0] = _without_links_away(app, docname, text)


def _without_numbers(
    app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    """Fields of named tuples need no 'Alias for field number 0'."""
    if lines and lines[0].startswith("Alias for field number"):
        lines.clear()


def _from_the_top(app: Sphinx, env: Any, node: Any, contnode: Any) -> Any:
    """`pyro_hypergeo.X` is documented as `pyro_hypergeo.distributions.X`, or in another part."""
    top, _, name = node.get("reftarget", "").partition(".")
    if node.get("refdomain") != "py" or top != project:
        return None
    for part in PARTS:
        target, kind = f"{part.__name__}.{name}", node["reftype"]
        found = env.domains["py"].resolve_xref(
            env, node["refdoc"], app.builder, kind, target, node, contnode
        )
        if found is not None:
            return found
    return None


def setup(app: Sphinx) -> None:
    """Register what this file adds to Sphinx."""
    app.connect("source-read", _prepare)
    app.connect("autodoc-process-docstring", _without_numbers)
    app.connect("missing-reference", _from_the_top)
