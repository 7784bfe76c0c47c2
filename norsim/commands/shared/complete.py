"""What a shell can complete behind an option: names that norsim knows, else files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import click
from click.shell_completion import CompletionItem
from pydantic import BaseModel

from norsim.chip.load import presets, section_of
from norsim.chip.schema import ChipFile
from norsim.saved.shipped import shipped_networks

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def named(names: Callable[[], Iterable[str]]) -> Completer:
    """Completes names; where none begins so, files."""

    def complete(context: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found = [CompletionItem(name) for name in names() if name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]

    return complete


def definitions() -> Iterable[str]:
    """The network definitions that come with norsim."""
    from norsim.zoo.registry import NETWORKS

    return NETWORKS


def datasets() -> Iterable[str]:
    """The data sets that have a name."""
    from norsim.data import DATASETS

    return DATASETS


def chip_keys(section: type[BaseModel] = ChipFile, before: str = "") -> Iterator[str]:
    """`key.key=` of all values of a chip file."""
    for name, field in section.model_fields.items():
        below = section_of(field.annotation)
        if below is None:
            yield f"{before}{name}="
        else:
            yield from chip_keys(below, f"{before}{name}.")


complete_chip = named(presets)
complete_network = named(shipped_networks)
complete_definition = named(definitions)
complete_dataset = named(datasets)
complete_key = named(chip_keys)
