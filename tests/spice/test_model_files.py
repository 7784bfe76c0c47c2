"""User-supplied cell and model files: allowed content, rejected content, and proof that ngspice would run it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from norsim.array.cell import Cell
from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import Wires
from norsim.errors import ConfigurationError, UntrustedCellError
from norsim.paths import models_folder, netlists_folder
from norsim.spice.deck import deck
from norsim.spice.model_files import CIRCUIT, DEVICES, Source
from norsim.spice.simulators.ngspice import find_ngspice

SHIPPED = [*sorted((netlists_folder() / "cells").glob("*.sp")), *sorted((models_folder() / "devices").glob("*"))]
SHELL = "shell touch ran"
# Each of these makes ngspice start a program, at any place in a deck.
COMMANDS = {
    "a control block": f".control\n{SHELL}\n.endc",
    "a control block in capitals": f".CONTROL\n{SHELL}\n.ENDC",
    "an indented control block": f" \t.control\n{SHELL}\n.endc",
    "a card that begins like one": f".controls\n{SHELL}\n.endc",
    "a command in a comment": f"*#{SHELL}",
    "an indented command in a comment": f"  *#{SHELL}",
}
OTHERS = {
    "an analysis": (".tran 1n 1u", ".tran does not describe a circuit"),
    "options": (".options gmin=1", "a file can only have options that models need"),
    "output": (".save all", ".save does not describe a circuit"),
    "a code model": ("A1 in out filesource", "devices with the letter 'a' are not allowed"),
    "a Verilog device": ("N1 d g s b module", "an N device is a compiled Verilog-A model"),
    "a program": ('.model p d_process(process_file="/bin/sh")', "it names a file"),
    "a data file": ('V1 a 0 pwl file="/etc/passwd"', "it names a file"),
    "a shared library": (".osdi evil.so", ".osdi does not describe a circuit"),
    "a form feed": ("* x\x0c.control", "it has a control character"),
    "a line separator": ("* x\u2028.control", "it has a control character"),
    "half an include": (".include", "it names no file"),
}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a file under `tmp_path/cells`, the only folder that these tests allow."""

    def make(text: str, name: str = "cell.sp") -> Path:
        path = tmp_path / "cells" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
        return path

    return make


def source_of(path: Path, trusted: bool = False) -> str:
    folder = next(parent for parent in path.parents if parent.name == "cells")
    return Source((folder,), trusted).read(path)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_what_comes_with_norsim_is_taken_as_it_is(path: Path) -> None:
    text = path.read_text()
    # A library is read by section.
    assert ".lib " in text or Source((path.parent,)).read(path) == text


@pytest.mark.parametrize("text", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_command_is_refused_and_ngspice_would_have_run_it(
    write: Write, resistor_cell: Cell, tmp_path: Path, text: str
) -> None:
    hostile = f"* a cell\n{text}\n{resistor_cell.netlist}"
    path = write(hostile)
    with pytest.raises(UntrustedCellError, match=r"cell\.sp, line 2: .* is not allowed: .* trust the cell's files"):
        source_of(path)
    assert source_of(path, trusted=True) == hostile.rstrip("\n") + "\n"
    trusting = replace(resistor_cell, netlist=hostile)
    (tmp_path / "tile.cir").write_text(deck(Tile([[5.0]], trusting, Wires()), Stimulus([[5.0]], [[0.5]])))
    subprocess.run([find_ngspice(), "-n", "-b", "tile.cir"], cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(("text", "problem"), OTHERS.values(), ids=OTHERS.keys())
def test_what_describes_no_circuit_is_refused_with_its_line(write: Write, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        source_of(write(f".subckt c d g s b\n{text}\n.ends\n"))
    assert "line 2" in str(caught.value) and problem in str(caught.value)


@given(st.text(st.sampled_from(". \t\r\n*#+aAnNcCrR01;$=\x0b\x85"), max_size=60))
def test_whatever_is_accepted_holds_only_lines_of_a_circuit(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "cells" / "cell.sp"
    path.parent.mkdir()
    path.write_text(text, newline="")
    try:
        accepted = source_of(path)
    except ConfigurationError:
        return
    for line in accepted.split("\n"):
        first = line.strip(" \t").lower()
        assert "\r" not in line and not first.startswith("*#")
        assert not first.startswith(".") or first.split()[0] in CIRCUIT
        assert not first or first[0] in DEVICES | set(".+*;$")


def test_includes_and_sections_are_taken_in(write: Write) -> None:
    write(".param a=1\n.include 'deep/more.lib'\n", "parts/one.inc")
    write(".param c=3\n", "parts/deep/more.lib")
    write(
        ".param common=0\n.lib SLOW\n.param b=1\n.endl\n.LIB fast\n.param b=2\n.include one.inc\n.endl fast\n",
        "parts/corners.lib",
    )
    found = source_of(write('.inc "parts/one.inc"\n.lib parts/corners.lib Fast\n.subckt c d g s b\n.ends\n'))
    assert found.split("\n") == [
        ".param a=1", ".param c=3", "", "", ".param b=2", ".param a=1", ".param c=3", "", "", ".subckt c d g s b",
        ".ends", "",
    ]  # fmt: skip


def test_a_section_that_is_not_there_and_endless_includes_are_refused(write: Write) -> None:
    write(".lib slow\n.endl\n", "corners.lib")
    with pytest.raises(ConfigurationError, match=r"corners\.lib has no library section 'fast'"):
        source_of(write(".lib corners.lib fast\n"))
    with pytest.raises(ConfigurationError, match="includes nest more than 16 deep"):
        source_of(write(".include cell.sp\n"))


@pytest.mark.parametrize("name", ["../secret.lib", "{}/secret.lib", "link.lib"])
def test_an_include_outside_the_folder_is_refused(write: Write, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.lib").write_text(".param secret=1\n")
    path = write(f".include {name.format(tmp_path)}\n")
    (path.parent / "link.lib").symlink_to(tmp_path / "secret.lib")
    with pytest.raises(UntrustedCellError, match=r"(secret|link)\.lib is outside .*cells.*trust the cell's files"):
        source_of(path)
    assert source_of(path, trusted=True).startswith(".param secret=1")


def test_a_file_that_is_too_large_is_not_read(write: Write) -> None:
    path = write("")
    with open(path, "wb") as file:
        file.truncate(2**26 + 1)
    with pytest.raises(ConfigurationError, match="67108865 bytes; the limit is 67108864"):
        source_of(path)


@pytest.mark.parametrize("field", ["subcircuit", "state"])
@pytest.mark.parametrize("name", ["x\n.control", "a b", "", "1x", "vt=1"])
def test_a_name_that_would_become_more_than_a_name_is_refused(resistor_cell: Cell, field: str, name: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a valid SPICE name"):
        replace(resistor_cell, **{field: name})
