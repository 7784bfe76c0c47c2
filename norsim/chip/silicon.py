"""The section `silicon` of a chip file, made of the keys that cell non-idealities declare."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, create_model
from scipy.constants import eV

from norsim.array.non_idealities import registry
from norsim.array.non_idealities.key import Key, keys_of
from norsim.array.non_idealities.non_ideality import NonIdeality
from norsim.array.retention import MOST_EV, USUAL_RETENTION, Retention
from norsim.array.sectors.program_pulses import ProgramPulses
from norsim.array.variation import Silicon
from norsim.configuration.quantities import Kelvin, Seconds, quantity
from norsim.configuration.section import Section

Part = TypeVar("Part")
ActivationEnergy = Annotated[float, quantity("electron_volt"), Field(ge=0, le=MOST_EV)]


class SiliconSection(Section):
    """`silicon`: the keys that belong to no single non-ideality."""

    time: Seconds = 0.0
    """Time since programming."""
    stored_at: Kelvin | None = None
    """Temperature at which charge is lost since programming; null: `temperature`."""
    activation_energy: ActivationEnergy = USUAL_RETENTION.activation_joules / eV
    """Activation energy of retention. It scales `time` in the laws of `aged`, `mean_drift` and `lost_a_decade`."""
    retention_reference: Kelvin = USUAL_RETENTION.reference_kelvin
    """Temperature at which these laws hold for `time` itself."""
    in_situ: bool = False
    """Whether to program each cell to conduct its level in the array, under the usual IR drop, instead of alone."""
    programmed_at: Kelvin | None = None
    """Temperature of program-verify; null: `temperature`."""
    tracking: bool = False
    """Whether the read voltage of the wordlines tracks a reference cell over temperature."""


def silicon_section(non_idealities: Iterable[type[NonIdeality]]) -> type[SiliconSection]:
    """Return the section with the keys of these non-idealities."""
    pulses = _pulses_section()
    keys: dict[str, Any] = {"pulses": (pulses, pulses())}
    keys |= {name: field for kind in non_idealities for name, field in _fields(kind).items()}
    return create_model("SiliconSection", __base__=SiliconSection, **keys)


def _fields(kind: type[Any]) -> dict[str, Any]:
    """Return the keys that a dataclass declares, as definitions of fields for pydantic."""
    found = {}
    for field, key in keys_of(kind):
        is_null = key.section is not None or key.reader is not None or field.default is None
        default = None if is_null else ... if field.default is MISSING else field.default
        kind = _type(key)
        found[key.name] = (kind | None if is_null else kind, Field(default=default, description=key.meaning))
    return found


def _type(key: Key) -> Any:
    """Return the type of a key's value that is not null, with its unit and bounds."""
    if key.section is not None:
        return create_model(f"{key.section.__name__}Section", __base__=Section, **_fields(key.section))
    if key.reader is not None:
        return str
    if key.choices is not None:
        return Literal.__getitem__(key.choices)
    if key.whole:
        return Annotated[int, Field(ge=key.least, le=key.most)]
    # With an upper bound, no further check is needed: it excludes infinity, and every bound excludes nan.
    finite = False if key.most is None else None
    bounds = Field(ge=key.least, gt=key.above, le=key.most, allow_inf_nan=finite)
    return Annotated[float, bounds] if key.unit is None else Annotated[float, quantity(key.unit), bounds]


def _pulses_section() -> type[Section]:
    """Return the section `silicon.pulses`, in which a null step means that there are no pulses."""
    fields = _fields(ProgramPulses)
    kind, step = fields["step"]
    meaning = f"{step.description} null: no pulses, each cell gets the threshold of its level."
    return create_model(
        "PulsesSection", __base__=Section, **{**fields, "step": (kind | None, Field(default=None, description=meaning))}
    )  # fmt: skip


def build_pulses(section: SiliconSection, folder: Path) -> ProgramPulses | None:
    """Return the pulses of a section, in SI units; None without."""
    pulses = getattr(section, "pulses", None)
    return None if pulses is None or pulses.step is None else _built(ProgramPulses, pulses, folder)


def build_silicon(section: SiliconSection, folder: Path) -> Silicon:
    """Return the non-idealities of a section, in SI units; `folder` holds the files that it names."""
    mechanisms = (_built(kind, section, folder) for kind in registry.NON_IDEALITIES)
    retention = Retention(section.activation_energy * eV, section.retention_reference, section.stored_at)
    return Silicon(tuple(mechanisms), section.time, retention)


def _built(kind: type[Part], section: Section, folder: Path) -> Part:
    """Return a dataclass with the values of its keys; those that are null keep the field's default."""
    values = {}
    for field, key in keys_of(kind):
        value = getattr(section, key.name)
        if value is None:
            continue
        if key.section is not None:
            value = _built(key.section, value, folder)
        elif key.reader is not None:
            value = key.reader(folder / value)
        values[field.name] = value
    return kind(**values)
