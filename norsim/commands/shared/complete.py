"""Shell completion of option values: names known to norsim, else files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import click
from click.shell_completion import CompletionItem
from pydantic import BaseModel

from norsim.chip.load import presets
from norsim.chip.schema import chip_file
from norsim.configuration.section import by_pattern, section_of
from norsim.saved.shipped import shipped_networks

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def named(names: Callable[[], Iterable[str]]) -> Completer:
    """Return a completer of `names` that falls back to files if no name matches."""

    def complete(context: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found = [CompletionItem(name) for name in names() if name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]

    return complete


def definitions() -> Iterable[str]:
    """Return the names of the network definitions that come with norsim."""
    from norsim.zoo.registry import NETWORKS

    return NETWORKS


def datasets() -> Iterable[str]:
    """Return the names of the data sets that norsim knows by name."""
    from norsim.data import DATASETS

    return DATASETS


def chip_keys(section: type[BaseModel] | None = None, before: str = "") -> Iterator[str]:
    """Yield `key.key=` for every value of a chip file."""
    for name, field in (section or chip_file()).model_fields.items():
        below = section_of(field.annotation)
        if by_pattern(field.annotation) is not None:
            yield f"{before}{name}."
        elif below is None:
            yield f"{before}{name}="
        else:
            yield from chip_keys(below, f"{before}{name}.")


complete_chip = named(presets)
complete_network = named(shipped_networks)
complete_definition = named(definitions)
complete_dataset = named(datasets)
complete_key = named(chip_keys)
