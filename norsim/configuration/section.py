"""The base of all sections of a chip file."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """The base of all sections of a chip file: unknown keys are errors, and values are immutable."""

    # docs/chip_keys.py writes the reference page from the docstrings below the keys.
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def section_of(annotation: Any) -> type[Section] | None:
    """Return the section class in a key's type, optional or not; None for a plain value."""
    kinds = [
        kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type) and issubclass(kind, Section)
    ]
    return kinds[0] if kinds else None
