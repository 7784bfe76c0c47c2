"""A small foundry kit with the structure of real ones, for tests.

A library has corner and mismatch sections that include other files. The transistor is a subcircuit with `.param` in its
body, sizes in microns by `.option scale`, a resistor of a nested subcircuit, and bins with quoted expressions of the
corner, the size and a switched random number.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from norsim.chip.load import presets

LIBRARY = """* corners of a process
.lib {corner}
.param mm_switch={switch}
.option scale=1.0u
.include "../corners/{parameters}.spice"
.include '../cells/nch.pm3.spice'
.endl {corner}
"""
CORNERS = {"tt": ("1.0", "0.0"), "ss": ("1.04", "0.05"), "ff": ("0.96", "-0.05")}
CELL = """* nch: an n-channel transistor in {bins} bins
.subckt nch_tail t b rtail=1
Rtail t b '(rtail>0) ? 10*rtail : 10'
.ends nch_tail
.subckt nch d g s b mult=1
.param l=1 w=1 ad='w*0.3'
+ as='w*0.3'
Mcore d g si b nch_model l='l' w='w' ad='ad' as='as' m='mult'
Xtail si s nch_tail rtail='0.5/w'
"""
BIN = """.model nch_model.{bin} nmos
+ lmin={lmin}e-06 lmax={lmax}e-06 wmin={wmin}e-06 wmax={wmax}e-06
+ level=54.0 version=4.5 tnom=27 paramchk=0
+ toxe='2.6e-09*nch_toxe_mult' ndep=4e17 vsat=1.1e5
+ vth0='{vth0}+nch_vth0_shift+mm_switch*AGAUSS(0,1.0,1)*(0.004/sqrt(l*w*mult))' k1=0.4 k2=-0.02
+ u0={u0}
+ nfactor={{1.2+mm_switch*gauss(0, 0.1, 3)}}
"""
EDGES = [(0.13, 0.25), (0.25, 0.6), (0.6, 5.0)], [(0.15, 0.5), (0.5, 10.0)]


def write_kit(folder: Path) -> Path:
    """Write the kit with the sections tt, ss, ff and tt_mm to `folder/kit`, and return that folder."""
    kit = folder / "kit"
    for part in ("libs", "corners", "cells"):
        (kit / part).mkdir(parents=True)
    sections = [(corner, corner, 0) for corner in CORNERS] + [("tt_mm", "tt", 1)]
    (kit / "libs" / "process.lib").write_text(
        "".join(LIBRARY.format(corner=name, parameters=file, switch=switch) for name, file, switch in sections)
    )
    for corner, (tox, shift) in CORNERS.items():
        (kit / "corners" / f"{corner}.spice").write_text(
            f"* {corner}\n.param nch_toxe_mult={tox}\n.param nch_vth0_shift={shift}\n"
        )
    sizes = [(length, width) for length in EDGES[0] for width in EDGES[1]]
    bins = [
        BIN.format(bin=k, lmin=low, lmax=high, wmin=narrow, wmax=wide, vth0=0.40 + 0.02 * k, u0=0.035 - 0.001 * k)
        for k, ((low, high), (narrow, wide)) in enumerate(sizes)
    ]
    (kit / "cells" / "nch.pm3.spice").write_text(CELL.format(bins=len(bins)) + "".join(bins) + ".ends nch\n")
    return kit


def kit_chip(folder: Path, **cell: Any) -> Path:
    """Write a chip file beside the kit in `folder` whose cell is the kit's transistor in place; return its path."""
    content = yaml.safe_load(presets()["square-law"].read_text())
    content["cell"] = {
        "models_root": "kit", "models": ["libs/process.lib"], "corner": "tt", "subcircuit": "nch",
        "instance": {"w": "0.42", "l": "0.18"}, "erased": "0.5 V", "programmed": "2.5 V", **cell,
    }  # fmt: skip
    content["bit_serial"] |= {"wordline_read": "1.5 V", "bitline_read": "0.5 V", "top_level": "10 uA"}
    (folder / "own.yaml").write_text(yaml.safe_dump(content))
    return folder / "own.yaml"
