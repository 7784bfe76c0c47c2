"""Results files in the formats of HSPICE and Xyce, made from given currents."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from norsim.array.tile import Floats

ENGINEERING = {0: "", -3: "m", -6: "u", -9: "n", -12: "p", -15: "f", -18: "a"}
BANNER = "1****** HSPICE -- A-2000.00 linux64 ******\n ******\n * nor-flash tile\n"


def plain(value: float) -> str:
    """Format a number as with ingold=2."""
    return f"{value:.9e}"


def engineering(value: float) -> str:
    """Format a number in HSPICE's default form: four digits and a scale factor, and zero as `0.`."""
    if value == 0:
        return "0."
    power = max(int(np.floor(np.log10(abs(value)) / 3)) * 3, -18)
    return f"{value / 10.0**power:.4f}{ENGINEERING[power]}"


def listing(
    names: list[str], table: Floats, show: Callable[[float], str] = plain, columns: int = 4, last: str = "job concluded"
) -> str:
    """Return an HSPICE listing: tables of `columns` columns, each after the swept one."""
    lines = [BANNER, " ****** dc transfer curves tnom=  27.000 temp=  27.000 ******"]
    for start in range(0, len(names), columns):
        some = slice(start, start + columns)
        kinds = ["current" for _ in names[some]]
        lines += [
            "x",
            "",
            "   idx          " + "     ".join(kinds),
            " " * 14 + "    ".join(n[2:-1] for n in names[some]),
        ]
        lines[-2] = lines[-2].replace("idx", "volt", 1)
        lines += [
            f"  {show(float(k))}  " + "  ".join(show(value) for value in row[some]) for k, row in enumerate(table)
        ]
        lines += ["y"]
    return "\n".join([*lines, "", f"          ***** {last}", BANNER, " ****** job statistics summary ******", ""])


def csdf(names: list[str], table: Floats, pairs: bool = True) -> str:
    """Return HSPICE's output with post=csdf; values with their places or without."""
    quoted = [f"'I({name[2:-1]})'" for name in names]
    lines = [
        "#H", "SOURCE='HSPICE' VERSION='A-2000.00 32-BIT'", "TITLE='* nor-flash tile'", "SERIALNO='00.00'",
        "TIME='21:22:01' DATE='07/21/2010'", "ANALYSIS='DC' TEMPERATURE=' 2.70000E+01' SWEEPVAR='idx'",
        "SWEEPMODE='VAR_STEP' COMPLEXVALUES='NO' FORMAT='1 VOLTSorAMPS;EFLOAT'",
        f"XBEGIN=' 0.00000E+00' XEND=' {len(table) - 1:.5E}'", f"NODES='  {len(names)}'",
    ]  # fmt: skip
    for start in range(0, len(names), 5):
        lines.append(("#N " if start == 0 else "") + " ".join(quoted[start : start + 5]))
    for k, row in enumerate(table):
        values = [f"{value:.9e}" + (f":{place}" if pairs else "") for place, value in enumerate(row, start=1)]
        lines.append(f"#C {k:.9e} {len(names)} " + " ".join(values[:3]))
        lines += [" ".join(values[start : start + 5]) for start in range(3, len(values), 5)]
    return "\n".join([*lines, "#;", ""])


def prn(names: list[str], table: Floats) -> str:
    """Return Xyce's standard format."""
    lines = ["Index   " + "   ".join(name.upper() for name in names)]
    lines += [f"{k}   " + "   ".join(f"{value:.9e}" for value in row) for k, row in enumerate(table)]
    return "\n".join([*lines, "End of Xyce(TM) Simulation", ""])


def csv(names: list[str], table: Floats) -> str:
    """Return Xyce's output with format=csv."""
    lines = [",".join(name.upper() for name in names)]
    return "\n".join([*lines, *(",".join(f"{value:.9e}" for value in row) for row in table), ""])


FORMATS = {"listing": listing, "csdf": csdf, "prn": prn, "csv": csv}
