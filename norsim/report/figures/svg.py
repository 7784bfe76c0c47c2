"""SVG figures for light and dark pages, the same bytes each time."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

# Placeholder for the page's text colour in matplotlib.
INK = "#010203"
BLUE, ORANGE, GREEN, RED, GREY, VIOLET = "#3d85c6", "#e08a2e", "#35a07a", "#d65a6a", "#8a94a0", "#8f74c9"
STYLE: Any = {
    "svg.hashsalt": "norsim", "svg.fonttype": "none", "text.parse_math": False, "font.size": 9,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GREY, "xtick.color": GREY, "ytick.color": GREY,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "axes.facecolor": "none", "figure.facecolor": "none",
    "savefig.facecolor": "none", "axes.spines.top": False, "axes.spines.right": False, "grid.color": GREY,
    "grid.alpha": 0.25, "grid.linewidth": 0.6, "axes.axisbelow": True, "legend.frameon": False, "legend.fontsize": 8,
    "axes.titlesize": 9, "axes.titlelocation": "left", "image.interpolation": "nearest",
}  # fmt: skip
ALONE = "<style>svg{color:#1b2430}@media(prefers-color-scheme:dark){svg{color:#dde3ea}}</style>"
# Names of clip paths are hashes of their corners, which constrained layout repeats only up to rounding.
CLIP = re.compile(r"\bp[0-9a-f]{10}\b")
FONT = re.compile(r"font-family: [^;\"]*")


@dataclass(frozen=True)
class Drawing:
    """A figure: the `name` of its file, `alt`, a description, and `svg`, the text of a standalone file."""

    name: str
    alt: str
    svg: str

    @property
    def inline(self) -> Markup:
        """Return the SVG for embedding in a page: in the page's text colour, with unique ids, at full width."""
        text = self.svg[self.svg.index("<svg") :].replace(ALONE, "")
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
        text = re.sub(r'\bid="', f'id="{self.name}-', text)
        text = re.sub(r'(url\(#|href="#)', rf"\1{self.name}-", text)
        return Markup(text)


@contextmanager
def figure(width: float, height: float) -> Iterator[Figure]:
    """Yield a figure of a size in inches, in this module's style within the block."""
    with matplotlib.rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def plain_log(axis: Any) -> None:
    """Extend a logarithmic axis to whole decades and label it with numbers: mathematical text is off, because names
    may have a dollar sign."""
    low, high = axis.get_view_interval()
    axis.set_view_interval(10.0 ** np.floor(np.log10(low)), 10.0 ** np.ceil(np.log10(high)), ignore=True)
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def drawing(name: str, alt: str, drawn: Figure) -> Drawing:
    """Return a figure as SVG."""
    text = io.StringIO()
    drawn.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    # Links of figures lead to parts of the same page.
    svg = text.getvalue().replace(INK, "currentColor").replace(' target="_blank"', "")
    clips = {name: f"clip{place}" for place, name in enumerate(dict.fromkeys(CLIP.findall(svg)))}
    svg = CLIP.sub(lambda found: clips[found[0]], svg)
    svg = FONT.sub("font-family: system-ui, sans-serif", svg)
    role = f'role="img" aria-label="{escape(alt)}"'
    svg = re.sub(r'<svg ([^>]*?)width="[^"]*"([^>]*?)height="[^"]*"', rf"<svg {role} \1\2", svg, count=1)
    svg = re.sub(r"<svg [^>]*>", lambda found: found[0] + ALONE, svg, count=1)
    return Drawing(name, alt, svg)
