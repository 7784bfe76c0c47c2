"""The registry of encodings."""

from __future__ import annotations

import subprocess
import sys

from norsim.periphery.bit_serial import BitSerial
from norsim.periphery.registry import ENCODINGS, read_keys


class Unregistered(BitSerial):
    """An encoding without a section."""

    name = "unregistered"


def test_names_and_keys_are_those_of_the_sections() -> None:
    for name, section in ENCODINGS.items():
        assert {*section.read_keys, "wires"} <= set(section.model_fields)  # type: ignore[attr-defined]
        assert name == name.lower() and "_" not in name
    assert read_keys(BitSerial(5.0, 0.5, 1e-6, "digital", 4)) == (
        "bit_serial.wordline_read", "bit_serial.bitline_read", "bit_serial.top_level",
    )  # fmt: skip
    assert read_keys(Unregistered(5.0, 0.5, 1e-6, "digital", 4)) is None


def test_the_registry_imports_nothing_slow() -> None:
    """Options of commands list the encodings."""
    code = "import sys; import norsim.periphery.registry; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "numpy" in loaded and "pydantic" in loaded
    assert not {"pint", "scipy", "numba", "torch", "matplotlib", "yaml"} & set(loaded)
