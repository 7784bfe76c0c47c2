"""What determines the numbers of a part: hashes that its file keeps, so that it is measured again only for a reason."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import norsim
from norsim.chip.load import choose_chip
from norsim.chip.renamed import LAWS
from norsim.paths import models_folder
from results.part import OTHERS, TRANSFORMERS, Part, Places, card

# The code that makes currents and classes of a chip, weights and images. Reports, commands and stores change no number.
PHYSICS = ("array", "backends", "periphery", "quantization", "solver", "spice", "tiling")
# What changes the weights first, where a part does.
TRAINING = ("training",)


@dataclass(frozen=True)
class Sources:
    """What all parts depend on: `physics` with and without training, and the data's digests; None if unknown."""

    places: Places
    physics: str
    training: str
    data: dict[str, str | None]


def sources(places: Places) -> Sources:
    """Return the digests of norsim's code and of the data in `places`."""
    data = {name: None if folder is None else of_folder(folder) for name, folder in vars(places).items()}
    data["digits"] = f"scikit-learn {version('scikit-learn')}"
    return Sources(places, physics(), physics(TRAINING), data)


def physics(more: Iterable[str] = ()) -> str:
    """Return a digest of the physics: the number of its laws, and the code of PHYSICS and `more` packages without
    comments and docstrings."""
    root = Path(norsim.__file__).parent
    files = sorted(path for name in (*PHYSICS, *more) for path in (root / name).rglob("*.py"))
    texts = [f"laws {LAWS}", *(f"{path.relative_to(root)}\n{bare(path.read_text())}" for path in files)]
    return _sha256("\0".join(texts).encode())


def bare(code: str) -> str:
    """Return code without its docstrings, lines of comments and empty lines. Any version of Python gives the same."""
    left_out = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            left_out |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = enumerate(code.splitlines(), 1)
    return "\n".join(line for place, line in lines if place not in left_out and line.strip()[:1] not in ("", "#"))


def inputs(part: Part, known: Sources) -> dict[str, str | None]:
    """Return the digests of what `part` depends on by name; None for what the command line's folders do not hold.

    Raises ConfigurationError for a chip that does not exist.
    """
    arguments = [" ".join(words) for words in part.commands()]
    tunes = bool(part.before) or "--bits" in part.options or part.network in OTHERS
    return {
        "chip": _sha256(repr(chip_of(part.options)).encode()),
        "weights": weights(part, known.places),
        "data": known.data[data_of(part)],
        "arguments": "; ".join([*part.program[1:2], *arguments] if part.program[0] == "-m" else arguments),
        "physics": known.training if tunes else known.physics,
    }


def chip_of(options: tuple[str, ...]) -> object:
    """Return the chip that options name; the preset of a chip that is only chosen by the part is the preset."""
    pairs = list(pairwise(options))
    settings = tuple(value for option, value in pairs if option == "--set")
    names = [value for option, value in pairs if option == "--chip" and "{" not in value]
    encodings = [value for option, value in pairs if option == "--encoding"]
    return choose_chip(names[-1] if names else "etox65", settings, encodings[-1] if encodings else None).chip


def data_of(part: Part) -> str:
    """Return what its images are: `digits`, or the name of a place."""
    if part.network in OTHERS:
        return "text" if "{text}" in OTHERS[part.network] else "data"
    return "digits" if card(part.network)["dataset"] == "digits" else "data"


def weights(part: Part, places: Places) -> str | None:
    """Return a digest of the weights, and of the definition of a network that is none of norsim's."""
    if part.network not in OTHERS:
        folder = models_folder() / "networks" / part.network
        names = ("weights", "float") if "--bits" in part.options else ("weights",)
        return _sha256(b"\0".join((folder / f"{name}.safetensors").read_bytes() for name in names))
    if places.networks is None:
        return None
    file = places.networks / part.network / "float.safetensors"
    if not file.is_file():
        return None
    return _sha256(file.read_bytes() + bare((models_folder().parent / TRANSFORMERS).read_text()).encode())


def of_folder(folder: Path) -> str:
    """Return a digest of the files of a folder of data, but for text about them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".md")
    return _sha256(b"\0".join(part for path in files for part in (path.name.encode(), path.read_bytes())))


def changed(now: dict[str, str | None], kept: dict[str, str | None]) -> list[str]:
    """Return the names of the inputs that differ from those `kept` with a part's numbers, as far as they are known."""
    return [name for name, value in now.items() if value is not None and kept.get(name) != value]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
