"""Sphinx configuration for `make docs`. The site loads nothing from the network."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "norsim"
version = release = version_of("norsim")
copyright = "the authors of norsim, GPL-3.0-or-later"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click", "clicks", "mathml", "docstrings", "modules"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["extensions", "static"]

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4
# The two hyphens of an option must not become a dash.
smartquotes = False
html_math_renderer = "mathml"

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "ignore-module-all": True}
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
# Show these aliases by name instead of expanding them.
autodoc_type_aliases = {
    name: name
    for name in ("Codes", "Floats", "Images", "IntegerArray", "Labels", "NDArray", "Predictions", "Singles", "Tensor")
}
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 90

html_theme = "furo"
html_title = f"norsim {release}"
html_static_path = ["static"]
html_css_files = ["norsim.css"]
html_copy_source = False
html_theme_options = {"top_of_page_buttons": []}


def setup(app: Any) -> None:
    """Leave out what `AMBIGUOUS` names."""
    app.connect("autodoc-skip-member", lambda app, what, name, *rest: name in AMBIGUOUS or None)


# Keys of a chip with the name of a built-in type, to which annotations would link; the page of the chip file has them.
AMBIGUOUS = {"range"}
