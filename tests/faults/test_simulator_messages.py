"""What the simulator says about a cell is told in full, with file and line, and unknown parameters are errors."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends.registry import read
from norsim.chip.load import load_chip
from norsim.commands import cli
from norsim.errors import ConfigurationError, SolveError
from norsim.spice.simulators import ngspice
from norsim.spice.simulators.messages import ONCE, check, check_log, messages
from tests.faults.kit_files import C, Edit, K, by_norsim, write

# ngspice prints the second name of an unknown parameter on stdout, the rest on stderr.
MISSPELT = (K, "u0=0.035", "u0o=0.035")
TWO = (K, "nfactor=1.2", "nfactor=1.2 alpha00=3 xyz=2")
# Values at which ngspice's BSIM4 warns, and goes on.
ODD = (K, "nfactor=1.2", "nfactor=-1.2 moin=50")
ODD_TOLD = "model nch.1 / Warning: Nfactor = -1.2 is negative. / Warning: Moin = 50 is too large."
SMALL = ("tile.wordlines=16", "tile.bitlines=16", "bit_serial.top_level=3 uA")


@pytest.mark.parametrize(
    ("edits", "names"),
    [
        ([MISSPELT], [r"u0o \(.*kit\.lib, line 12\)"]),
        ([TWO], [r"alpha00 \(.*kit\.lib, line 12\)", r"xyz \(.*kit\.lib, line 12\)"]),
        ([(K, "nmos level=14 version=4.8", "nmos level=8"), (K, "toxe=", "tox=")], [r"ndep \(.*kit\.lib, line 12\)"]),
        ([(C, "w={w} l", "w={w} wox=2 l")], [r"wox \(.*cell\.sp, line 4\)"]),
        ([(C, "Mselect", "Rx bl sl 1g foo=2\nMselect")], [r"foo \(.*cell\.sp, line 8\)"]),
    ],
    ids=["a misspelt name", "two names", "names of another level", "on a transistor", "on a resistor"],
)
def test_an_unknown_parameter_is_an_error_with_its_name_and_line(
    tmp_path: Path, edits: list[Edit], names: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        by_norsim(write(tmp_path, *edits))
    for name in names:
        assert caught.match(name)
    assert caught.match(r"cell\.allow_unknown_parameters") and caught.match("ngspice says '.*parameter")


def test_a_parameter_that_a_subcircuit_does_not_have_is_an_error(tmp_path: Path) -> None:
    """ngspice says nothing about it: a misspelt state of an inner subcircuit would keep its default."""
    edit = (C, "storage shift={shift}", "storage shft={shift}")
    with pytest.raises(ConfigurationError, match=r"cell\.sp, line 7: .*storage has no parameter 'shft'.*has shift, w"):
        load_chip(write(tmp_path, edit))
    load_chip(write(tmp_path, edit, allow_unknown_parameters=["SHFT"]))
    load_chip(write(tmp_path, (C, "storage shift={shift}", "storage shift={shift} m=1")))


@pytest.mark.parametrize(("name", "meant"), [("tnon", "tnom"), ("Scal", "scale"), ("wnflg", "wnflag")])
def test_an_option_that_ngspice_ignores_is_an_error(tmp_path: Path, name: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{name}', which ngspice ignores; did you mean '{meant}"):
        load_chip(write(tmp_path, options={name: "1"}))


@pytest.mark.parametrize("backend", ["ngspice", "ngspice-shared"])
def test_parameters_that_may_be_unknown_are_ignored_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, backend: str
) -> None:
    tile = Tile([[0.5]], load_chip(write(tmp_path, TWO)).cell, Wires(strap_every=1))
    stimulus = Stimulus([[1.2]], [[0.5]])
    with pytest.raises(ConfigurationError, match="alpha00"):
        read(tile, stimulus, backend)
    allowed = load_chip(write(tmp_path, TWO, allow_unknown_parameters=["Alpha00", "xyz"])).cell
    usual = load_chip(write(tmp_path)).cell
    ONCE.said.clear()
    amps = [
        read(Tile([[0.5]], cell, tile.wires), stimulus, backend).bitline[0, 0] for cell in (allowed, allowed, usual)
    ]
    assert amps[0] == amps[1] == pytest.approx(amps[2], rel=1e-9)
    told = [record.getMessage() for record in caplog.records if "PySpice" not in record.name]
    assert sum("(alpha00) - ignored" in text for text in told) == 1
    assert sum("(xyz) - ignored" in text for text in told) == 1


@pytest.mark.parametrize("backend", ["ngspice", "ngspice-shared"])
def test_a_warning_is_told_in_full_and_once(tmp_path: Path, caplog: pytest.LogCaptureFixture, backend: str) -> None:
    tile = Tile([[0.5, 0.9]], load_chip(write(tmp_path, ODD)).cell, Wires(strap_every=1))
    ONCE.said.clear()
    for _ in range(2):
        read(tile, Stimulus([[1.2]], [[0.5, 0.5]]), backend)
    # Another deck, with other numbers of lines.
    read(replace(tile, notes=("a", "b")), Stimulus([[1.2]], [[0.5, 0.5]]), backend)
    told = [record.getMessage() for record in caplog.records if "PySpice" not in record.name]
    assert len(told) == 1 and ODD_TOLD in told[0] and told[0].endswith("kit.lib, line 12)")


def test_a_definition_that_ngspice_ignores_is_told_with_its_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    again = ".subckt storage d g s b shift=0 w=0.3u\nRs d s 1k\n.ends"
    chip = load_chip(write(tmp_path, (C, ".ends split_gate", f".ends split_gate\n{again}")))
    found = ngspice.warnings(chip.cell, np.array([0.5]))
    assert len(found) == 1 and "redefinition of .subckt storage, ignored" in found[0]
    assert found[0].endswith("cell.sp, line 10)")


def run(*words: Any, **settings: str) -> None:
    options = [part for setting in SMALL for part in ("--set", setting)]
    cli.main([*map(str, words), *options], standalone_mode=False)


@pytest.mark.parametrize("command", ["build-netlist", "run-layer"])
def test_a_command_tells_warnings_once_and_refuses_unknown_parameters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    options = ["--network", "digits-cnn", "--layer", "conv1", "--tile", "0,0", "--vectors", "1", "-q"]
    if command == "run-layer":
        options += ["--backend", "ngspice"]
    chip = write(tmp_path, ODD)
    run(command, *options, "--chip", chip, "--out", tmp_path / "run")
    assert capsys.readouterr().err.count(ODD_TOLD) == 1
    with pytest.raises(ConfigurationError, match=r"u0o .*kit\.lib, line 12"):
        run(command, *options, "--chip", write(tmp_path, MISSPELT), "--out", tmp_path / "other")


def test_cell_check_names_unknown_parameters(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"u0o .*kit\.lib, line 12"):
        run("cell", "check", "-q", "--chip", write(tmp_path, MISSPELT), "--out", tmp_path / "run")


LOG = """Note: No compatibility mode selected!

Circuit: * tile
Warning: Model issue on line 3 :
  .model nch nmos level=14 vth0= ...
unrecognized parameter (a) - ignored
unrecognized parameter (b) - ignored

Checking parameters for BSIM 4.8 model nch
Warning: Nfactor = -1.2 is negative.
Warning: Moin = 50 is too large.
Doing analysis at TEMP = 27.000000 and TNOM = 27.000000
Error on line:
  m.x1.m1 d g s b nch w=1u

could not find a valid modelname
    Simulation interrupted due to error!
doAnalyses: iteration limit reached
"""


def test_messages_are_joined_over_line_ends() -> None:
    assert [" / ".join(message) for message in messages(LOG)] == [
        "Warning: Model issue on line 3 : / .model nch nmos level=14 vth0= ... / unrecognized parameter (a) - ignored"
        " / unrecognized parameter (b) - ignored",
        "Checking parameters for BSIM 4.8 model nch / Warning: Nfactor = -1.2 is negative. / "
        "Warning: Moin = 50 is too large.",
        "Error on line: / m.x1.m1 d g s b nch w=1u / could not find a valid modelname",
        "doAnalyses: iteration limit reached",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "Warning: singular matrix:  check node x0.y", "doAnalyses: iteration limit reached",
        "warning, can't find model 'pch' from line\n    m1 a b c d pch", "Fatal: Toxm = -1 is not positive.",
        "Warning: source stepping failed", "Error: Mismatch of .subckt ... .ends statements!",
        "Warning: Model issue on line 15 :\n  .model p ako: nch nmos ...\nUnknown model type ako: - ignored",
        "Netlist line no. 3:\nUndefined parameter [abc]",
    ],
)  # fmt: skip
def test_a_message_of_a_failure_is_an_error_with_all_its_lines(line: str) -> None:
    with pytest.raises(SolveError) as caught:
        check_log(f"Circuit: * x\nWarning: harmless\n{line}\n\nNo. of Data Rows : 4\n")
    assert " / ".join(part.strip() for part in line.split("\n")) in str(caught.value)


def test_a_completed_stepping_is_told(tmp_path: Path) -> None:
    cell = load_chip(write(tmp_path)).cell
    steps = "Note: Starting dynamic gmin stepping\nTrying gmin = 1.0E-03 Warning: Last gmin step failed\n"
    told = ngspice.warnings_in(f"{steps}Note: Dynamic gmin stepping completed\n", cell)
    assert told == ["Note: Dynamic gmin stepping completed"]


def test_the_log_of_a_run_has_no_line_inside_another(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """More than a pipe's buffer of text on stdout between the messages on stderr."""
    fake = tmp_path / "ngspice"
    fake.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo ngspice-39 && exit\npython3 -c "\nimport sys\nfor k in range(400):\n'
        "    sys.stdout.write('x' * 50)\n    sys.stderr.write('Warning: number %d ends here\\\\n' % k)\"\n"
    )
    fake.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NORSIM_NGSPICE", str(fake))
        ngspice.find_ngspice.cache_clear()
        ONCE.said.clear()
        (tmp_path / "tile.cir").write_text("*\n")
        ngspice.run_deck(load_chip("square-law").cell, tmp_path, 60)
    ngspice.find_ngspice.cache_clear()
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 400 and all(text.endswith(f"Warning: number {k} ends here") for k, text in enumerate(told))


def test_a_long_card_is_quoted_in_part_and_still_named() -> None:
    """ngspice echoes a whole card of 4 KB before what it says about it."""
    cell = load_chip("bsim3").cell
    card = f".model nch nmos level=8 {' '.join(f'pvth{k}=0' for k in range(500))} wrong=1"
    with pytest.raises(SolveError) as caught:
        check(f"Error on line 12 :\n{card}\nunknown model type level\n", replace(cell, models=card))
    told = str(caught.value)
    assert told.startswith("ngspice says 'Error on line 12 : / .model nch nmos level=8 pvth0=0") and " ... " in told
    assert "wrong=1 / unknown model type level'" in told and len(told) < 400 < len(card)
