"""Where the studies put their pictures, and how they write them."""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of a study's command line, which takes the folder of its picture."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("folder", type=made_folder, nargs="?", default=Path(), help="of the picture; this one by default")
    return made


def made_folder(name: str) -> Path:
    """Return the folder `name`, which is made before a study computes if it is missing."""
    folder = Path(name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, the same figure in the same bytes, and close it."""
    with plt.rc_context({"svg.hashsalt": "norsim"}):
        figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
