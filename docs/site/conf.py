"""The documentation site: ``python -m sphinx -c docs/site -W -n . build/site`` in the root of the repository.

The pages are the Markdown files that the repository has anyway, at the paths that they have there, so that a link works
on the site as it does in a checkout. ``<!-- generated: NAME -->`` in a page is replaced by what the code says, see
``reference.py``. Nothing on the site is loaded from elsewhere, and building it needs no network.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError

sys.path.insert(0, str(Path(__file__).parent))

import navigation
import reference

project = "toxonnx"
author = "toxonnx contributors"
version = release = installed_version("toxonnx")
html_title = f"{project} {version}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = navigation.HOME
include_patterns = navigation.pages()
exclude_patterns = [".*", "build", "dist", "runs"]

# --- strict: with -W -n, a link, an anchor or a name that leads nowhere fails the build ---
nitpick_ignore_regex = [
    # Types of other packages. Their inventories would have to be downloaded.
    ("py:.*", r"(numpy|np|collections\.abc|typing|pathlib|os)\..*"),
    ("py:.*", r"(str|int|float|bool|bytes|object|dict|list|tuple|None|Any|Path|Self|optional)"),
    ("py:class", r"toxonnx\.inference\.classifier\.T"),  # a type variable
    ("py:class", r"toxonnx\.manifest\.Manifest"),  # has a page of its own
]
myst_heading_anchors = 4

# --- the Python reference ---
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
napoleon_use_ivar = True
napoleon_numpy_docstring = False

# --- appearance ---
html_theme = "furo"
html_extra_path = ["root"]
html_static_path = ["static"]
html_css_files = ["site.css"]
highlight_language = "none"
html_copy_source = False
html_show_sourcelink = False
pygments_style = "friendly"
html_theme_options = {"navigation_with_keys": True}

_GENERATED = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.MULTILINE)
#: an address on another server that a browser loads without a click
_LOADED = re.compile(
    r"""<(?:script|img|iframe|source|link)\b[^>]*\b(?:src|href)="(?:https?:)?//[^"]*|url\(["']?(?:https?:)?//[^)]*"""
)
#: a link definition that only the site which hosts the repository can resolve
_HOST_LINK = re.compile(r"^\[[\w.]+\]: \.\./\.\./.*$", re.MULTILINE)


def _fill_in(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Puts in what the code says, and the navigation below the home page."""
    source[0] = _GENERATED.sub(lambda mark: reference.GENERATORS[mark[1]](), _HOST_LINK.sub("", source[0]))
    if docname == navigation.HOME:
        source[0] += navigation.toctrees()


def _outdated(_app: Sphinx, env: BuildEnvironment, *_: set[str]) -> list[str]:
    """The pages to read again in every build, since the code may have changed."""
    return [page for page in env.found_docs if page.startswith("docs/reference/")]


def _finish(app: Sphinx, error: Exception | None) -> None:
    """Writes the generated files, and checks that no page loads anything from elsewhere."""
    if error is not None:
        return
    folder = Path(app.outdir)
    reference.write_files(folder / "docs" / "reference")
    for path in sorted([*folder.rglob("*.html"), *folder.rglob("*.css")]):
        if found := _LOADED.search(path.read_text(encoding="utf-8")):
            raise ExtensionError(f"{path.relative_to(folder)} loads from elsewhere: {found[0]}")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _fill_in)
    app.connect("env-get-outdated", _outdated)
    app.connect("build-finished", _finish)
