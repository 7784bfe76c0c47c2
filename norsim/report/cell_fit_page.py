"""The page about a fitted cell: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from norsim.report.figures.svg import Drawing


def fit_page(content: Mapping[str, Any], drawings: Sequence[Drawing]) -> str:
    """Return the page about a fit with that `content` of summary.json and its figures."""
    environment = Environment(
        loader=PackageLoader("norsim.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template("cell_fit.html").render(fit=content, drawings=drawings)
