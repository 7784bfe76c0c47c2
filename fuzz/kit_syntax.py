"""Target: the syntax of a cell and its kit, with ngspice as the oracle.

The bytes of an input choose edits of a valid cell and kit. What ngspice accepts in a deck made by hand from these
files, norsim must accept with the same current; what ngspice refuses, norsim must refuse with an error of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from fuzz.choices import Choices, NoAnswerError
from norsim.chip.load import build_chip
from norsim.errors import NorsimError, SolveError
from norsim.spice.rawfile import read_raw
from norsim.spice.simulators.ngspice import drain_amps, find_ngspice

KIT = """* kit.lib: transistors of a 130 nm process
.lib tt
.param kit_vth0=0.40 kit_tox=2.6n factor=1
.lib kit.lib core
.endl tt
.lib ss
.param kit_vth0=0.46 kit_tox=2.7n factor=2
.lib kit.lib core
.endl ss
.lib core
.func half(a) {a/2}
.model nch.1 nmos level=14 version=4.8 lmin=0.12u lmax=0.3u wmin=0.15u wmax=10u
+ toxe={kit_tox} vth0={kit_vth0} u0=0.035 vsat=1.1e5 k1=0.4 k2=-0.02 nfactor=1.2 rdsw=180 ndep=4e17
.model nch.2 nmos level=14 version=4.8 lmin=0.3u lmax=10u wmin=0.15u wmax=10u
+ toxe={kit_tox} vth0={kit_vth0+0.03} u0=0.037 vsat=1.1e5 k1=0.4 k2=-0.02 nfactor=1.1 rdsw=180 ndep=4e17
.endl core
"""
CELL = """* cell.sp: a split-gate cell
.param lsel=0.4u
.subckt storage d g s b shift=0 w=0.3u
Mstore d g s b nch w={w} l=0.2u delvto={shift}
.ends storage
.subckt split_gate bl sl wl shift=0
Xstore x wl sl sl storage shift={shift}
Mselect bl wl x sl nch w={half(0.6u)*factor} l={lsel}
.ends split_gate
"""
CHIP = {
    "name": "mine", "temperature": "27 degC", "tile": {"wordlines": 128, "bitlines": 64}, "encoding": "bit-serial",
    "cell": {
        "netlist": "cell.sp", "models": [{"file": "kit.lib", "section": "tt"}], "subcircuit": "split_gate",
        "pins": ["drain", "source", "gate"], "state": "shift", "erased": "0.4 V", "programmed": "2.4 V",
        "state_erased": "0 V", "state_programmed": "2 V",
    },
    "bit_serial": {
        "wordline_read": "1.2 V", "bitline_read": "0.5 V", "top_level": "60 uA",
        "reference_every": 16, "wires": {
            "bitline": "0.5 ohm", "bitline_end": "20 ohm", "source_line": "5 ohm", "source_line_end": "0 ohm",
            "rows_per_source_line": 2, "strap_every": 16,
        },
    },
    "adc": {"bits": 8}, "calibration": {"images": 256, "reads": 64, "column_fit": True},
}  # fmt: skip
DECK = """* the cell by hand
.lib kit.lib tt
.include cell.sp
Vd d 0 0.5
Vg g 0 1.2
X1 d 0 g split_gate shift=0
.options gmin=1e-15 abstol=1e-15 reltol=1e-6 vntol=1e-9 temp=27
.save i(vd)
.op
.control
set filetype=binary
run
write currents.raw
quit
.endc
.end
"""
# Seconds; ngspice takes 0.02 s, or never ends.
LONGEST = 5
VOLTS = (1.2, 0.5, 0.0, 0.4)
# What norsim refuses although ngspice accepts it: names that both would use, files and cards that a cell must not have,
# parameters that ngspice ignores, and steps that do not end in a solution of the circuit itself.
POLICY = re.compile(
    r"is not allowed|belong to norsim's decks|of norsim's decks|would change the analysis|allow_unknown_parameters|"
    r"simulators choose differently|ngspice says '(?:Warning: singular|Note: Starting|Trying gmin)|"
    r"ngspice says 'Error: Mismatch of .if"
)
REMARKS = ("* x", "$ x", "$x", "; x", "// x", "*", "", "  ", "\t* x = {", "$ x ' {", "// file=x", "* .control")
ENDS = (" $ x", " ; x", ";x", " // x", "//x", "\t$x", ", $ y", " $", " $ agauss(1,2,3)", " ; {'", "  ", " $;")
WORDS = (
    "vt",
    "shift",
    "temp",
    "gmin",
    "s",
    "d",
    "wl",
    "x",
    "time",
    "e",
    "m",
    "pi",
    "tnom",
    "norsim",
    "lsel",
    "kit_tox",
)
LINES = (
    ".param {}=0.1", ".PARAM {} = 1u", ".param {}='1/2'", ".global {}", ".func {}(a) {{a}}", ".csparam {}=1", ".end",
    ".title {}", ".if (factor==1)", ".else", ".endif", ".ends", ".endl", ".lib {}", ".include {}.inc", "+", "+ {}=1",
    ".model {} nmos", "R{} a 0 1k", "V{} a 0 1", ".subckt {} a b", "C{} x 0 1f", "({}", "\\\\", ".options {}=1",
    ".lib kit.lib ss", ".para {}=2", ".nodeset v({})=1", ".ic v({})=1", "@", "#",
)  # fmt: skip
LINKS = ("\n+", "\n + ", "\n* y\n+ ", "\n\n$ y\n+\t", " $ y\n+ ", " \\\\\n", "\n// y\n\n+ ", "\n; y\n+ ", ";y\n+ ")
SECTION = r"(?i)(\.lib|\.endl)( kit.lib)? (\w+)"
BLANKS = ("\t", "  ", " \t ", "\t\r")
BRACES = (r"'\1'", r"{ \1 }", r"{(\1)}")
SECTIONS = (r"\1\2 '\3'", r'\1\2 "\3"', r"\1\2 \3 $ z", r"\1\2  \3;z", r"\1\2 \3 tt", r"\1 'kit.lib' \3")


def _line(lines: list[str], choose: Choices, edit: Callable[[str], str]) -> None:
    place = choose.below(len(lines))
    lines[place : place + 1] = edit(lines[place]).split("\n")


def _insert(lines: list[str], choose: Choices, line: str) -> None:
    lines.insert(choose.below(len(lines) + 1), line)


def _split(line: str, choose: Choices) -> str:
    """Continue a line after one of its words, with or without a remark between."""
    blanks = [place for place, letter in enumerate(line) if letter == " "]
    if not blanks or line.startswith("*"):
        return line
    place = blanks[choose.below(len(blanks))]
    return line[:place] + choose.one(LINKS) + line[place + 1 :]


def _number(match: re.Match[str], form: int) -> str:
    value = float(match[1]) * 1e-6
    mils = f"{value / 25.4e-6:.12g}mil"
    return (f"{value:g}", f"{value * 1e3:g}m", f"{value * 1e9:g}n", f"{match[1]}U", f"{match[1]}\xb5m",
            f"{value * 1e-6:g}meg", mils)[form]  # fmt: skip


def _edits(lines: list[str], choose: Choices) -> None:
    """Make one edit of the lines of a file."""
    edits: tuple[Callable[[], object], ...] = (
        lambda: _insert(lines, choose, choose.one(REMARKS)),
        lambda: _line(lines, choose, lambda line: line + choose.one(ENDS)),
        lambda: _line(lines, choose, lambda line: _split(line, choose)),
        lambda: _line(lines, choose, lambda line: line.upper().replace("KIT.LIB", "kit.lib")),
        lambda: _line(lines, choose, lambda line: line.replace(" ", choose.one(BLANKS))),
        lambda: _line(lines, choose, lambda line: re.sub(r"=", choose.one((" = ", " =", "= ")), line)),
        lambda: _line(lines, choose, lambda line: re.sub(r"\{(.*?)\}", choose.one(BRACES), line)),
        lambda: _line(lines, choose, lambda line: re.sub(SECTION, choose.one(SECTIONS), line)),
        lambda: _line(lines, choose, lambda line: re.sub(r"([\d.]+)u\b", partial(_number, form=choose.below(7)), line)),
        lambda: _insert(lines, choose, choose.one(LINES).format(choose.one(WORDS))),
        lambda: _line(
            lines, choose, lambda line: re.sub(r"(?<= )(?=\w+=)", choose.one(("params: ", "PARAMS:")), line, count=1)
        ),
        lambda: _line(lines, choose, lambda line: re.sub(r"(?i)^(\.ends|\.endl) .*", r"\1", line)),
        lambda: lines.pop(choose.below(len(lines))) if lines else None,
        lambda: _line(lines, choose, lambda line: f"{line}\n{line}"),
        lambda: _line(lines, choose, lambda line: line[: choose.below(len(line))] + chr(choose.below(256)) + line[2:]),
        lambda: _line(lines, choose, lambda line: f"  {line}"),
        lambda: _line(lines, choose, lambda line: re.sub(r"\bshift\b|\blsel\b|\bfactor\b", choose.one(WORDS), line)),
    )  # fmt: skip
    edits[choose.below(len(edits))]()


def files(content: bytes) -> dict[str, bytes]:
    """Return the files of an input: `kit.lib`, `cell.sp` and perhaps `part.inc`, a part of one of them."""
    choose = Choices(content)
    texts = {"kit.lib": KIT.split("\n"), "cell.sp": CELL.split("\n")}
    made: dict[str, bytes] = {}
    encoding, ending, part = choose.one(("utf-8", "latin-1", "utf-8")), choose.one(("\n", "\r\n")), choose.below(4)
    for _ in range(1 + choose.below(5)):
        _edits(texts[choose.one(tuple(texts))], choose)
    if part == 3:
        lines = texts[choose.one(tuple(texts))]
        start = choose.below(len(lines))
        end = start + 1 + choose.below(4)
        made["part.inc"] = ending.join(lines[start:end]).encode(encoding, "replace")
        lines[start:end] = [choose.one((".include part.inc", ".inc 'part.inc' $ x", '.INCLUDE "part.inc"'))]
    return made | {name: ending.join(lines).encode(encoding, "replace") for name, lines in texts.items()}


def by_hand(folder: Path) -> float | None:
    """Return the current of the cell by ngspice alone, amperes; None if ngspice refuses the files.

    Raises TimeoutExpired for files on which ngspice does not end.
    """
    (folder / "hand.cir").write_text(DECK)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOME": str(folder)}
    command = [find_ngspice(), "-n", "-b", "hand.cir"]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=LONGEST, check=False)
    try:
        if ended.returncode:
            return None
        return -float(read_raw(folder / "currents.raw", ["i(vd)"], 1)[0, 0])
    except SolveError:
        return None


def read(content: bytes) -> None:
    """Compare norsim with ngspice on the files that `content` chooses.

    Raises AssertionError with the files if they differ, or if norsim accepts what ngspice refuses.
    """
    home = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="norsim-fuzz-", dir=home) as name:
        folder, made = Path(name), files(content)
        for file, text in made.items():
            (folder / file).write_bytes(text)
        try:
            wanted, found, why = by_hand(folder), None, ""
        except subprocess.TimeoutExpired:
            raise NoAnswerError("ngspice does not end") from None
        try:
            cell = build_chip(CHIP, folder / "mine.yaml").cell
            found = float(drain_amps(cell, *(np.array([volts]) for volts in VOLTS))[0])
        except NorsimError as problem:
            why = str(problem)
        told = f"ngspice: {wanted}; norsim: {found} {why}\n" + "\n".join(f"== {file}\n{made[file]!r}" for file in made)
        if wanted is None:
            assert found is None, told
        elif found is None:
            assert POLICY.search(why), told
        else:
            # The floor is what gmin leaks.
            assert abs(found - wanted) <= 1e-6 * abs(wanted) + 1e-14, told


def seeds() -> list[bytes]:
    """Return inputs with one edit of each kind."""
    random = np.random.default_rng(0)
    return [bytes([0, 0, 0, 0, k % 2, k, *random.integers(0, 256, 16, dtype=np.uint8)]) for k in range(18)]
