"""A part of the results: one measurement by norsim's commands, on which the page has a row or a table."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from norsim.paths import models_folder

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ("-c", "from norsim.commands import main; main()")
EVALUATE = "eval-network"


@dataclass(frozen=True)
class Places:
    """Folders that a part may need and its file does not name; None if the command line gives none.

    `data`      CIFAR-10
    `networks`  weights of further networks, NAME/float.safetensors
    `text`      the text of the language model, input.txt
    """

    data: Path | None = None
    networks: Path | None = None
    text: Path | None = None

    def words(self) -> dict[str, str | None]:
        """Return what stands for each `{place}` of an option."""
        return {name: None if value is None else str(value) for name, value in vars(self).items()}


@dataclass(frozen=True)
class Part:
    """One measurement.

    `network`   a shipped network, or one in the folder of further networks
    `row`       what is measured; with the network it names the part, and the row of the page
    `command`   a command of norsim with its `options`, in which `{data}`, `{networks}` and `{text}` stand for folders
    `before`    the options of a command before it, whose folder is `{before}`, if any
    `images`    number of images after those `skipped`; None for all
    `number`    which part of a row, if several parts with other images share one
    `program`   what Python is called with before the command
    """

    network: str
    row: str
    command: str = EVALUATE
    options: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    images: int | None = None
    skipped: int = 0
    number: int | None = None
    program: tuple[str, ...] = COMMANDS

    @property
    def name(self) -> str:
        """Its name on the command line, and that of its file."""
        return f"{self.network}-{self.row}" + ("" if self.number is None else f"-{self.number}")

    def commands(self) -> list[list[str]]:
        """Return the words of its commands after `norsim`, with `{place}` for folders."""
        chosen = [] if self.images is None else ["--images", str(self.images)]
        skipped = ["--skip", str(self.skipped)] if self.skipped else []
        last = [self.command, *source(self.network, self.options), *self.options, *chosen, *skipped]
        return [[self.before[0], *source(self.network), *self.before[1:]], last] if self.before else [last]

    def needs(self) -> list[str]:
        """Return the names of the places that it needs."""
        words = " ".join(word for words in self.commands() for word in words)
        return [name for name in vars(Places()) if f"{{{name}}}" in words]

    def shown(self) -> list[str]:
        """Return its commands as the page shows them: capital letters stand for folders."""
        names = {name: name.upper() for name in (*vars(Places()), "before")}
        program = "norsim" if self.program == COMMANDS else f"python {' '.join(self.program)}"
        return [" ".join([program, *(quoted(_filled(word, names)) for word in words)]) for words in self.commands()]

    def lines(self, places: Places, folder: Path) -> list[tuple[Path, list[str]]]:
        """Return the folder and the words of each process; what they write is in `folder`, and beside it."""
        before = folder.with_name(f"{folder.name}-before")
        names = {**places.words(), "before": str(before)}
        folders = [before, folder] if self.before else [folder]
        found = []
        for place, words in zip(folders, self.commands(), strict=True):
            # Settings may hold braces, so only whole places are replaced.
            filled = [_filled(word, names) for word in words]
            found.append((place, [sys.executable, *self.program, *filled, "--out", str(place), "--quiet"]))
        return found


# Networks whose weights do not come with norsim: their definition, weights and data.
TRANSFORMERS = "examples/transformers.py"
OTHERS = {
    "vit": ("--model", f"{TRANSFORMERS}:vit", "--weights", "{networks}/vit/float.safetensors", "--dataset", "cifar10",
            "--data", "{data}"),
    "gpt": ("--model", f"{TRANSFORMERS}:gpt", "--weights", "{networks}/gpt/float.safetensors", "--dataset",
            f"{TRANSFORMERS}:shakespeare", "--data", "{text}", "--metric", "cross-entropy"),
}  # fmt: skip


def source(network: str, options: tuple[str, ...] = ()) -> list[str]:
    """Return the words that name a network, unless `options` do, and its data."""
    if network in OTHERS:
        return list(OTHERS[network])
    names = [] if "--network" in options else ["--network", network]
    return names + ([] if card(network)["dataset"] == "digits" else ["--data", "{data}"])


def _filled(word: str, names: Mapping[str, str | None]) -> str:
    for name, value in names.items():
        word = word.replace(f"{{{name}}}", str(value))
    return word


def quoted(word: str) -> str:
    """Return a word as a shell needs it."""
    return f'"{word}"' if any(letter in word for letter in " {}*") else word


def card(network: str) -> dict[str, Any]:
    """Return the card of a shipped network."""
    found: dict[str, Any] = json.loads((models_folder() / "networks" / network / "card.json").read_text())
    return found


def networks() -> list[str]:
    """Return the names of the shipped networks, those for small images first."""
    names = [path.parent.name for path in (models_folder() / "networks").glob("*/card.json")]
    return sorted(names, key=lambda name: (card(name)["dataset"] != "digits", card(name)["weights"]))
