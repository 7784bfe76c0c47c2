"""A chip file for the fitted cell."""

from __future__ import annotations

from norsim.cell_fit.read_point import WORDLINES, ReadPoint


def chip_text(name: str, read: ReadPoint, kelvin: float, remarks: list[str]) -> str:
    """Return a chip file for bit-serial reads of the cell in `name`.sp, with wires of the preset etox65; `remarks` are
    lines of its head."""
    head = "".join(f"# {line}\n" for line in remarks)
    return f"""\
{head}# Wires, tile and converter are those of the preset etox65, not measured.
name: {name}
temperature: {kelvin:.6g} kelvin

cell:
  netlist: {name}.sp
  subcircuit: {name}
  state: vt                      # the threshold seen from the control gate
  erased: {read.erased_volts:g} V
  programmed: {read.programmed_volts:g} V

tile: {{wordlines: {WORDLINES}, bitlines: 128}}

mapping: {{cell_bits: 4, scheme: reference}}

encoding: bit-serial

bit_serial:
  wordline_read: {read.wordline_volts:g} V
  bitline_read: {read.bitline_volts:g} V
  top_level: {1e6 * read.top_amps:.6g} uA
  reference_every: 16
  wires:
    bitline: 0.4 ohm
    bitline_end: 20 ohm
    source_line: 20 ohm
    source_line_end: 0 ohm
    rows_per_source_line: 2
    strap_every: 16

adc: {{bits: 8}}

calibration: {{images: 256, reads: 64, column_fit: true}}
"""
