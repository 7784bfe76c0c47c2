"""Draw `path.svg` and `path.png`: the path of data, from a network to its accuracy on the array.

    python docs/pictures/path.py [FOLDER]      writes both into FOLDER, beside this file by default

Coordinates are points from the lower left corner; the picture is legible at a width of 800 pixels.
One version of matplotlib always writes the same bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyBboxPatch, Polygon, Rectangle

WIDTH, HEIGHT = 800.0, 770.0
INK, GREY, FAINT, PAPER = "#1b2733", "#5d6b78", "#c3ccd4", "#f6f8fa"
DIGITAL, ANALOG, TRUSTED = "#2f6fae", "#b4531f", "#3a7d44"
STYLE = {
    "svg.hashsalt": "norsim",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "lines.solid_capstyle": "butt",
}
# Codes of the first tile of the shipped digits network: one row per output, one column per input.
WEIGHTS, ZERO = ((9, 13, 3, 3), (8, 2, 9, 2), (4, 0, 15, 7), (5, 5, 6, 8)), 8
Colour = tuple[float, float, float]


def shade(code: int, colour: str = ANALOG) -> Colour:
    """Return the colour of a code from 0 (nearly white) to 15 (nearly `colour`)."""
    full = matplotlib.colors.to_rgb(colour)
    share = 0.08 + 0.72 * code / 15
    red, green, blue = (1 - share * (1 - part) for part in full)
    return red, green, blue


def write(
    ax: Axes, x: float, y: float, text: str, size: float = 11, colour: str = INK, align: str = "center",
    weight: str = "normal", family: str | None = None,
) -> None:  # fmt: skip
    """Write text vertically centred on y."""
    ax.text(x, y, text, fontsize=size, color=colour, ha=align, va="center", weight=weight, family=family)


def line(ax: Axes, points: list[tuple[float, float]], colour: str = INK, width: float = 1.1, order: int = 2) -> None:
    """Draw a polyline."""
    ax.plot(*zip(*points, strict=True), color=colour, lw=width, zorder=order, solid_joinstyle="round")


def arrow(ax: Axes, points: list[tuple[float, float]], colour: str = INK) -> None:
    """Draw a polyline with an arrowhead at its last point; its last segment is parallel to an axis."""
    (x0, y0), (x1, y1) = points[-2:]
    length = max(abs(x1 - x0), abs(y1 - y0))
    dx, dy = (x1 - x0) / length, (y1 - y0) / length
    neck = (x1 - 8 * dx, y1 - 8 * dy)
    line(ax, [*points[:-1], neck], colour, 2.0, 5)
    sides = [(neck[0] - 4.2 * dy, neck[1] + 4.2 * dx), (neck[0] + 4.2 * dy, neck[1] - 4.2 * dx)]
    ax.add_patch(Polygon([(x1, y1), *sides], color=colour, lw=0, zorder=5))


def panel(ax: Axes, x: float, y: float, width: float, height: float, number: int, title: str, colour: str) -> None:
    """Draw a box with its number and title along the upper edge."""
    box = FancyBboxPatch(
        (x, y), width, height, boxstyle="round,pad=0,rounding_size=6", facecolor="white", edgecolor=colour, lw=1.3
    )
    ax.add_patch(box)
    top = y + height - 16
    ax.add_patch(Circle((x + 16, top), 9, color=colour, lw=0, zorder=3))
    ax.text(x + 16, top - 0.4, str(number), fontsize=10.5, color="white", ha="center", va="center_baseline",
            weight="bold", zorder=4)  # fmt: skip
    write(ax, x + 31, top - 0.5, title, 13, INK, "left", "bold")


def network(ax: Axes, x: float, y: float) -> None:
    """Draw panel 1: an image and three layers."""
    panel(ax, x, y, 232, 148, 1, "network", DIGITAL)
    digit = ("..###...", ".##.##..", ".....#..", "....##..", "...##...", "..##....", ".##.....", ".######.")
    for row, text in enumerate(digit):
        for column, mark in enumerate(text):
            colour = INK if mark == "#" else "#e8edf2"
            ax.add_patch(Rectangle((x + 12 + 6 * column, y + 92 - 6 * row), 5.4, 5.4, color=colour, lw=0))
    for place, (name, size) in enumerate((("conv1", 54), ("conv2", 40), ("fc", 26))):
        left = x + 79 + 44 * place
        arrow(ax, [(left - 17, y + 74), (left - 1, y + 74)], GREY)
        ax.add_patch(Rectangle((left + 2, y + 74 - size / 2), 19, size, facecolor="#dbe7f3", edgecolor=DIGITAL, lw=1))
        write(ax, left + 12, y + 37, name)
    write(ax, x + 225, y + 74, "“2”", 13, INK, "right", "bold")
    write(ax, x + 116, y + 15, "PyTorch: Conv2d, Linear", colour=GREY)


def quantized(ax: Axes, x: float, y: float) -> None:
    """Draw panel 2: a matrix of weight codes, one output per row."""
    panel(ax, x, y, 232, 148, 2, "quantized layer", DIGITAL)
    for row, codes in enumerate(WEIGHTS):
        for column, code in enumerate(codes):
            left, low = x + 12 + 22 * column, y + 96 - 22 * row
            ax.add_patch(Rectangle((left, low), 21, 21, facecolor=shade(code, DIGITAL), edgecolor="white", lw=1))
            write(ax, left + 10.5, low + 10, str(code), 10.5, "white" if code > 9 else INK)
    for place, text in enumerate(("weight codes $q$", "zero point $z$", "activations $x$", "scales $s$")):
        write(ax, x + 110, y + 106 - 22 * place, text, align="left")
    write(ax, x + 196, y + 15, "4 bit", colour=GREY)
    write(ax, x + 90, y + 15, r"$y = s_w s_x\,\Sigma\,(q-z)\,x + b$", colour=GREY)


def tiles(ax: Axes, x: float, y: float) -> None:
    """Draw panel 3: a matrix cut into tiles."""
    panel(ax, x, y, 232, 148, 3, "tiles", ANALOG)
    left, low = x + 36, y + 31
    widths, heights = (46, 46, 22), (36, 36, 13)
    for row, height in enumerate(heights):
        for column, width in enumerate(widths):
            corner = (left + 49 * column, low + 84 - sum(heights[: row + 1]) - 2 * row)
            first = row == column == 0
            face = "#f3d9c9" if first else "#fbf1eb"
            ax.add_patch(Rectangle(corner, width, height, facecolor=face, edgecolor=ANALOG, lw=1.6 if first else 0.8))
    write(ax, left + 23, low + 66, "0,0")
    ax.text(x + 20, low + 42, "inputs", fontsize=11, color=GREY, rotation=90, ha="center", va="center")
    write(ax, left + 58, y + 15, "outputs", colour=GREY)
    for place, text in enumerate(("256 × 128", "cells each")):
        write(ax, left + 128, low + 66 - 17 * place, text, align="left")


def resistor(ax: Axes, x: float, y: float, upright: bool) -> None:
    """Draw the resistance of a wire segment, centred on (x, y)."""
    width, height = (5, 11) if upright else (11, 5)
    ax.add_patch(Rectangle((x - width / 2, y - height / 2), width, height, fc="white", ec=GREY, lw=0.9, zorder=3))


def ground(ax: Axes, x: float, y: float) -> None:
    """Draw a ground symbol below (x, y)."""
    for step, half in enumerate((8, 5, 2)):
        line(ax, [(x - half, y - 3 * step), (x + half, y - 3 * step)], TRUSTED, 1.3)


def cell(ax: Axes, bitline: float, wordline: float, source: float, code: int) -> None:
    """Draw a floating-gate transistor: drain on the bitline, gate on the wordline, source on the source line.

    `wordline` and `source` are heights; the cell is below or above its wordline.
    """
    down = 1 if wordline > source else -1
    control, floating, channel, drain = (wordline - down * step for step in (7, 11.5, 16, 22))
    left, right = bitline + 13, bitline + 33
    line(ax, [(left + 10, wordline), (left + 10, control)], DIGITAL, 1.2)
    line(ax, [(left + 2, control), (right - 2, control)], INK, 1.6, 4)
    box = Rectangle((left + 2, floating - 1.9), right - left - 4, 3.8, fc=shade(code), ec=INK, lw=0.6, zorder=4)
    ax.add_patch(box)
    ends = [(bitline, drain), (right - 2, source)]
    line(ax, [ends[0], (left + 2, drain), (left + 2, channel), (right - 2, channel), ends[1]], INK, 1.3, 3)
    for place in ends:
        ax.add_patch(Circle(place, 2, color=INK, lw=0, zorder=4))
    write(ax, right + 2, drain - down * 2, str(code), 10, ANALOG, "left")


def array(ax: Axes, x: float, y: float) -> None:
    """Draw panel 4: a strapped group of four wordlines and five bitlines, wordline 0 nearest to the driven end."""
    panel(ax, x, y, 452, 352, 4, "array: one strapped group of a tile", ANALOG)
    bitlines = [x + 50 + 56 * column for column in range(5)]
    straps, bottom = (x + 24, x + 336), y + 52
    pairs = ((y + 100, y + 142, y + 184), (y + 212, y + 254, y + 296))
    ax.add_patch(Rectangle((bitlines[2] - 9, y + 15), 56, 300, fc="#f0f2f5", ec="none", zorder=1))
    for strap in straps:
        line(ax, [(strap, bottom + 20), (strap, y + 303)], TRUSTED, 3.2)
        ground(ax, strap, bottom + 20)
        write(ax, strap + 2, y + 311, "strap", colour=TRUSTED)
    for pair, (lower, source, upper) in enumerate(pairs):
        line(ax, [(straps[0], source), (straps[1], source)], TRUSTED, 1.5)
        for place in [bitline + 15 for bitline in bitlines] + [bitlines[-1] + 49]:
            resistor(ax, place, source, False)
        for strap in straps:
            ax.add_patch(Circle((strap, source), 2.8, color=TRUSTED, lw=0, zorder=4))
        write(ax, x + 348, source, "source line", colour=TRUSTED, align="left")
        for place, height in enumerate((lower, upper)):
            wordline, bit = 2 * pair + place, (1, 1, 0, 1)[2 * pair + place]
            line(ax, [(x + 40, height), (x + 346, height)], DIGITAL, 1.4)
            write(ax, x + 349, height, f"WL{wordline}", colour=DIGITAL, align="left")
            write(ax, x + 384, height, f"bit {bit}: {5 * bit} V", colour=DIGITAL, align="left")
            codes = [output[wordline] for output in WEIGHTS]
            for bitline, code in zip(bitlines, [*codes[:2], ZERO, *codes[2:]], strict=True):
                cell(ax, bitline, height, source, code)
    for number, bitline in enumerate(bitlines):
        line(ax, [(bitline, bottom), (bitline, pairs[1][2] - 22)], INK, 1.4)
        for height in (y + 76, y + 132, y + 196, y + 244):
            resistor(ax, bitline, height, True)
        ax.add_patch(Circle((bitline, bottom), 9, fc="white", ec=INK, lw=1.2, zorder=4))
        ax.text(bitline, bottom - 0.5, "A", fontsize=10.5, color=INK, ha="center", va="center", zorder=6)
        write(ax, bitline, y + 33, f"BL{number}")
    write(ax, bitlines[2] + 19, y + 20, "reference", 10.5, GREY)
    write(ax, x + 348, bottom, "ammeters", colour=INK, align="left")


def deck(ax: Axes, x: float, y: float) -> None:
    """Draw panel 5: some lines of the deck of the first tile of the shipped digits network."""
    panel(ax, x, y, 274, 352, 5, "deck: tile.cir", TRUSTED)
    text = """\
* wordline 0: input 0: channel 0,
*   kernel (0, 0)
Bwl0 wl0 0 V=pwl(v(idx),0,5.0,…)
* bitline 0: layer conv1,
*   output channel 0
Vdrive0 drive0 0 0.5
Vbl0 drive0 end0 0
Rend0 end0 bl0_0 20.0
X0_0 bl0_0 wl0 sl0_0 0
+ floating_gate vt=4.249
Rbl0_1 bl0_0 bl0_1 0.4
X1_0 bl0_1 wl1 sl0_0 0
+ floating_gate vt=4.163
…
* source line 0: wordlines 0 to 1
Rsl0_0 gm0_0 sl0_0 20.0
…
.save i(vbl0) i(vbl1) … i(vret)
.dc Vidx 0 15 1
write currents.raw"""
    for row, entry in enumerate(text.splitlines()):
        comment = entry.startswith("*")
        colour = GREY if comment else INK
        write(ax, x + 13, y + 313 - 15.4 * row, entry, 11, colour, "left", family="DejaVu Sans Mono")


def solver(ax: Axes, x: float, y: float) -> None:
    """Draw panel 6: ngspice and the checks of its results."""
    panel(ax, x, y, 145, 168, 6, "ngspice", TRUSTED)
    write(ax, x + 12, y + 124, "solves cells and wires", 10.5, align="left")
    write(ax, x + 12, y + 102, "checks of each run:", 10.5, GREY, "left")
    for row, text in enumerate(("log", "all vectors, finite", "current in = out")):
        low = y + 80 - 21 * row
        line(ax, [(x + 13, low), (x + 16, low - 3.5), (x + 22, low + 4.5)], TRUSTED, 1.8)
        write(ax, x + 28, low, text, align="left")
    write(ax, x + 72, y + 15, "no fallback", colour=GREY)


def currents(ax: Axes, x: float, y: float) -> None:
    """Draw panel 7: a bar for each bitline, and the reference that is subtracted."""
    panel(ax, x, y, 145, 168, 7, "currents", ANALOG)
    base = y + 52
    line(ax, [(x + 14, base), (x + 131, base)], INK, 1)
    heights = (64, 38, 48, 74, 29)
    for place, height in enumerate(heights):
        face = FAINT if place == 2 else shade(9)
        ax.add_patch(Rectangle((x + 20 + 22 * place, base), 15, height, fc=face, ec=INK, lw=0.7, zorder=3))
    ax.plot([x + 14, x + 131], [base + heights[2]] * 2, color=GREY, lw=1.2, ls=(0, (4, 2)), zorder=4)
    write(ax, x + 72, y + 38, "bitline − reference")
    write(ax, x + 72, y + 15, "one read per pass", colour=GREY)


def converter(ax: Axes, x: float, y: float) -> None:
    """Draw panel 8: a staircase."""
    panel(ax, x, y, 145, 168, 8, "ADC", ANALOG)
    left, base = x + 28, y + 52
    arrow(ax, [(left, base), (left, base + 84)], GREY)
    arrow(ax, [(left, base), (left + 104, base)], GREY)
    stairs = [(left, base)]
    for number in range(8):
        stairs += [(left + 6 + 10 * number, base + 9 * number), (left + 6 + 10 * number, base + 9 * (number + 1))]
    line(ax, [*stairs, (left + 94, base + 72)], ANALOG, 1.8, 4)
    ax.text(x + 16, base + 38, "code", fontsize=11, color=GREY, rotation=90, ha="center", va="center")
    write(ax, x + 80, y + 38, "ampere", colour=GREY)
    write(ax, x + 72, y + 15, "8 bit, fitted range", colour=GREY)


def sums(ax: Axes, x: float, y: float) -> None:
    """Draw panel 9: shift and add."""
    panel(ax, x, y, 145, 168, 9, "sums", DIGITAL)
    write(ax, x + 72, y + 124, "column gain, offset")
    write(ax, x + 72, y + 103, "shift and add")
    write(ax, x + 72, y + 75, r"$\sum_p\, 2^p \sum_i\, (q_i - z)\,x_i[p]$", 10.5)
    write(ax, x + 72, y + 45, "tiles added up")
    write(ax, x + 72, y + 15, "then bias, ReLU …", colour=GREY)


def accuracy(ax: Axes, x: float, y: float) -> None:
    """Draw panel 10: three accuracies with their intervals, and the verification."""
    panel(ax, x, y, 145, 168, 10, "accuracy", TRUSTED)
    rows = (("float", 0.97, 0.03, GREY), ("4 bit", 0.95, 0.04, DIGITAL), ("array", 0.90, 0.06, ANALOG))
    for row, (name, value, half, colour) in enumerate(rows):
        low = y + 116 - 20 * row
        write(ax, x + 11, low + 5, name, align="left")
        ax.add_patch(Rectangle((x + 48, low), 84 * value, 11, color=colour, alpha=0.75, lw=0))
        middle, reach = x + 48 + 84 * value, 84 * half
        line(ax, [(middle - reach, low + 5.5), (middle + reach, low + 5.5)], INK, 1.5, 4)
    line(ax, [(x + 11, y + 66), (x + 134, y + 66)], FAINT, 1)
    for row, text in enumerate(("verification: ngspice", "solves a sample of", "the reads again")):
        write(ax, x + 11, y + 50 - 17 * row, text, align="left")


def picture() -> matplotlib.figure.Figure:
    """Draw the whole path: a row of digital steps, the array and its deck, and the way back to a number."""
    figure = plt.figure(figsize=(WIDTH / 72, HEIGHT / 72), facecolor="white")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))
    ax.axis("off")
    left, top, middle, bottom = 12.0, 610.0, 226.0, 12.0
    network(ax, left, top)
    quantized(ax, left + 272, top)
    tiles(ax, left + 544, top)
    for place in (232, 504):
        arrow(ax, [(left + place + 4, top + 74), (left + place + 36, top + 74)])
    array(ax, left + 324, middle)
    deck(ax, left, middle)
    arrow(ax, [(left + 660, top - 3), (left + 660, middle + 355)])
    arrow(ax, [(left + 321, middle + 176), (left + 277, middle + 176)])
    step = 157.75
    for place, draw in enumerate((solver, currents, converter, sums, accuracy)):
        draw(ax, left + step * place, bottom)
    for place in range(1, 5):
        arrow(ax, [(left + step * place - 12, bottom + 84), (left + step * place - 1, bottom + 84)])
    arrow(ax, [(left + 72, middle - 3), (left + 72, bottom + 171)])
    arrow(ax, [(left + 3 * step + 72, bottom + 171), (left + 3 * step + 72, middle - 3)])
    write(ax, left + 3 * step + 82, (bottom + 168 + middle) / 2, "next layer’s activations", align="left")
    return figure


def main(folder: Path) -> None:
    """Write both files into `folder`."""
    with matplotlib.rc_context(STYLE):
        figure = picture()
        figure.savefig(folder / "path.svg", metadata={"Date": None, "Creator": "norsim docs/pictures/path.py"})
        figure.savefig(folder / "path.png", dpi=144, metadata={"Software": None})
        plt.close(figure)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
