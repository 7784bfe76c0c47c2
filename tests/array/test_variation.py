"""Each statistical model reproduces the moments of its source, and changes nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from norsim.array.cell import Cell
from norsim.array.clipped import Clipped
from norsim.array.draw import NUMBERS, Draw, number_of
from norsim.array.measured import Measured, read_measured
from norsim.array.non_idealities.broken_cells import BrokenCells
from norsim.array.non_idealities.charge_loss import ChargeLoss
from norsim.array.non_idealities.current_spreads import AgedSpread, CurrentSpread, CurrentSpreads
from norsim.array.non_idealities.key import keys_of
from norsim.array.non_idealities.mean_drift import MeanDrift
from norsim.array.non_idealities.non_ideality import NonIdeality
from norsim.array.non_idealities.pdk_mismatch import PdkMismatch
from norsim.array.non_idealities.programming_spread import ProgrammingSpread
from norsim.array.non_idealities.read_disturb import ReadDisturb
from norsim.array.non_idealities.registry import NON_IDEALITIES
from norsim.array.non_idealities.telegraph_noise import TelegraphNoise
from norsim.array.non_idealities.threshold_drift import ThresholdDrift
from norsim.array.non_idealities.transistor_mismatch import TransistorMismatch
from norsim.array.retention import Retention
from norsim.array.tile import Floats
from norsim.array.variation import PERFECT, CellCurves, Silicon
from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError

SIZE = (400, 500)
DAY = 86400.0
PROGRAMMED = CurrentSpread(19.887e-9, 176.31e-9)
AGED = AgedSpread(34.579e-9, 207.34e-9, 5 * DAY)
READ = CurrentSpread(12.580e-9, 215.37e-9)
DRIFT = MeanDrift(-48e-9, 1067e-9, 5 * DAY, 1.058)
# V. Agrawal et al., IEDM 2022, 21.7, as keys of a chip file.
SONOS = {
    "silicon.programming": {"scale": "19.887 nA", "knee": "176.31 nA"},
    "silicon.aged": {"scale": "34.579 nA", "knee": "207.34 nA", "after": "5 day"},
    "silicon.mean_drift": {"shift": "-48 nA", "at": "1067 nA", "power": 1.058, "after": "5 day"},
}
FIRST = Draw(0, 0, (1,))


@pytest.fixture
def cell() -> Cell:
    """A cell that here conducts 1 uA per volt of its threshold below 6 V; its SPICE model is not used."""
    return Cell("any", ".subckt any d g s b\n.ends", "", "vt", erased_volts=3.0, programmed_volts=6.0)


def threshold_of(amps: Floats) -> Floats:
    return 6.0 - amps / 1e-6


# Of the same cell at both temperatures; it holds no charge at 2.5 V.
CURVES = CellCurves(threshold_of, threshold_of, lambda _: 4.5e-6, lambda: 2.5)


def drawn(silicon: Silicon, cell: Cell, amps: float = 500e-9, draw: Draw = FIRST) -> Floats:
    target = np.full(SIZE, amps)
    return silicon.thresholds(threshold_of(target), target, cell, CURVES, draw)


def currents(silicon: Silicon, cell: Cell, amps: float) -> Floats:
    return 1e-6 * (6.0 - drawn(silicon, cell, amps))


def test_perfect_silicon_is_what_was_programmed(cell: Cell) -> None:
    assert np.array_equal(drawn(PERFECT, cell), np.full(SIZE, 5.5))


@pytest.mark.parametrize("nanoamperes", [100.0, 300.0, 900.0])
@pytest.mark.parametrize(("part", "scale", "knee"), [("programming", 19.887, 176.31), ("reading", 12.580, 215.37)])
def test_currents_spread_as_measured(cell: Cell, part: str, scale: float, knee: float, nanoamperes: float) -> None:
    """Mean and deviation are within four standard errors, and so are the third and fourth moments of a normal."""
    spread = CurrentSpread(1e-9 * scale, 1e-9 * knee)
    spreads = CurrentSpreads(**{part: spread}, reading_drawn="per_chip")  # type: ignore[arg-type]
    found = currents(Silicon((spreads,)), cell, 1e-9 * nanoamperes)
    sigma = scale * (1 - math.exp(-nanoamperes / knee))
    count = found.size
    assert 1e9 * found.mean() == pytest.approx(nanoamperes, abs=4 * sigma / math.sqrt(count))
    assert 1e9 * found.std() == pytest.approx(sigma, rel=4 / math.sqrt(2 * count))
    standard = (found - found.mean()) / found.std()
    assert abs((standard**3).mean()) <= 4 * math.sqrt(6 / count)
    assert abs((standard**4).mean() - 3) <= 4 * math.sqrt(24 / count)


@pytest.mark.parametrize(("nanoamperes", "shift"), [(400.0, -17.0), (1067.0, -48.0)])
def test_sonos_cells_after_five_days_are_those_of_the_source(cell: Cell, nanoamperes: float, shift: float) -> None:
    """Mean and deviation of drawn cells are within 5 % of the source's at its points, by the keys of a chip file."""
    chip = load_chip("etox65", {**SONOS, "silicon.time": "5 day"})
    found = 1e9 * currents(chip.silicon, replace(cell, temperature_kelvin=300.15), 1e-9 * nanoamperes)
    sigma = 34.579 * (1 - math.exp(-nanoamperes / 207.34))
    assert found.mean() - nanoamperes == pytest.approx(shift, rel=0.05)
    assert found.std() == pytest.approx(sigma, rel=0.05)


@pytest.mark.parametrize("days", [0.0, 1 / 24, 1.0, 2.0, 20.0])
def test_spread_and_mean_grow_with_the_logarithm_of_time_over_two_days(cell: Cell, days: float) -> None:
    silicon = Silicon((CurrentSpreads(PROGRAMMED, AGED, DRIFT),), days * DAY)
    found = 1e9 * currents(silicon, replace(cell, temperature_kelvin=300.15), 400e-9)
    share = math.log(1 + days / 2) / math.log(1 + 5 / 2)
    first, last = (scale * (1 - math.exp(-400 / knee)) for scale, knee in ((19.887, 176.31), (34.579, 207.34)))
    assert found.std() == pytest.approx(first + share * (last - first), rel=0.01)
    assert found.mean() == pytest.approx(400 - 17 * share, abs=4 * found.std() / math.sqrt(found.size) + 0.01 * share)


def test_the_mean_of_a_cell_that_is_off_does_not_drift() -> None:
    assert DRIFT.amps(np.array([0.0, 1067e-9]), 5 * DAY) == pytest.approx([0.0, -48e-9])


def test_ageing_at_another_temperature_takes_the_time_of_arrhenius(cell: Cell) -> None:
    """JEDEC JESD218 counts 8,760 h at 30 degC as 500 h at 52 degC and as 96 h at 66 degC."""
    year = Retention(reference_kelvin=303.15)
    for hours, celsius in ((500.0, 52.0), (96.0, 66.0)):
        assert year.seconds(hours, 273.15 + celsius) == pytest.approx(8760.0, rel=0.05)
    assert Retention(0.0).seconds(7.0, 400.0) == 7.0
    # Stored hot and read at the reference temperature, and the same in the time that the law of Arrhenius gives.
    spread = (CurrentSpreads(PROGRAMMED, AGED, DRIFT), ChargeLoss(0.01))
    read = replace(cell, temperature_kelvin=300.15)
    hot = drawn(Silicon(spread, 3600.0, Retention(stored_kelvin=333.15)), read)
    factor = math.exp(1.1 / 8.617333e-5 * (1 / 300.15 - 1 / 333.15))
    assert factor == pytest.approx(67.5, rel=0.01)
    np.testing.assert_allclose(hot, drawn(Silicon(spread, 3600.0 * factor), read), rtol=0, atol=1e-6)
    assert np.abs(hot - drawn(Silicon(spread, 3600.0), read)).max() > 0.01


def test_telegraph_amplitudes_fall_tenfold_every_so_many_volts(cell: Cell) -> None:
    """With few traps, a cell has hardly ever more than one; P(one trap or more) = 1 - exp(-traps)."""
    silicon = Silicon((TelegraphNoise(5e-3, traps=0.04),))
    shift = np.concatenate([drawn(silicon, cell, draw=Draw(0, chip)) for chip in range(10)]) - 5.5
    assert (shift != 0).mean() == pytest.approx(0.5 * (1 - math.exp(-0.04)), rel=0.03)
    size = np.abs(shift[shift != 0])
    for volts in (5e-3, 10e-3):
        assert (size > volts).mean() == pytest.approx(10 ** (-volts / 5e-3), rel=0.2)
    assert abs(shift.mean()) <= 4 * shift.std() / math.sqrt(shift.size)


@pytest.mark.parametrize("traps", [0.5, 1.0, 4.0])
def test_a_cell_has_a_poisson_number_of_traps(cell: Cell, traps: float) -> None:
    """A trap adds a (s1 - s0): variance E[a^2] / 2 = m^2 and fourth moment E[a^4] / 2 = 12 m^4, m the mean amplitude.

    The n-th cumulant of a sum of a Poisson number of terms is that number's mean times their n-th moment.
    """
    shift = drawn(Silicon((TelegraphNoise(5e-3, traps),)), cell) - 5.5
    mean = 5e-3 / math.log(10)
    assert shift.std() == pytest.approx(math.sqrt(traps) * mean, rel=0.02)
    excess = (shift**4).mean() / (shift**2).mean() ** 2 - 3
    assert excess == pytest.approx(12 / traps, rel=0.15)
    # A cell without a trap, or whose traps are all as they were at program-verify, does not move.
    still = sum(math.exp(-traps) * traps**k / math.factorial(k) * 0.5**k for k in range(30))
    assert (shift == 0).mean() == pytest.approx(still, abs=0.005)


def per_read(silicon: Silicon, cell: Cell, amps: float = 500e-9, draw: Draw = FIRST) -> Floats:
    """Return the standard deviation from read to read, `[wordlines, bitlines]`, amperes."""
    target = np.full(SIZE, amps)
    found = silicon.read_sigma(threshold_of(target), target, cell, CURVES, draw)
    assert found is not None
    return found


def test_read_noise_is_no_state_of_the_cells_if_it_is_drawn_for_each_read(cell: Cell) -> None:
    silicon = Silicon((CurrentSpreads(reading=READ), BrokenCells(stuck=0.1, open=0.1)))
    whole = ~np.isin(drawn(silicon, cell), (3.0, 7.5))
    assert np.array_equal(drawn(silicon, cell)[whole], np.full(SIZE, 5.5)[whole])
    sigma = per_read(silicon, cell)
    assert sigma[whole] == pytest.approx(12.580e-9 * (1 - math.exp(-500 / 215.37)), rel=1e-12)
    assert not sigma[~whole].any() and 0.1 < (~whole).mean() < 0.3
    for other in (silicon.fresh(), PERFECT, Silicon((CurrentSpreads(reading=READ, reading_drawn="per_chip"),))):
        target = np.full(SIZE, 500e-9)
        assert other.read_sigma(threshold_of(target), target, cell, CURVES, FIRST) is None


def test_telegraph_noise_per_read_has_the_moments_of_many_chips_of_states(cell: Cell) -> None:
    """Over the states at the read, the same traps have that mean and variance; 1 uA per volt converts to amperes."""
    noise = TelegraphNoise(5e-3, traps=2.0, drawn="per_read")
    kept = TelegraphNoise(5e-3, traps=2.0)
    mean, sigma = drawn(Silicon((noise,)), cell) - 5.5, per_read(Silicon((noise,)), cell)
    # The same traps, with their states drawn on two occasions.
    both = [drawn(Silicon((kept,)), cell, draw=replace(FIRST, calibrating=on)) - 5.5 for on in (False, True)]
    assert not np.array_equal(*both)
    for one in both:
        standard = ((one - mean) * 1e-6)[sigma > 0] / sigma[sigma > 0]
        assert abs(standard.mean()) <= 4 / math.sqrt(standard.size) and standard.std() == pytest.approx(1.0, rel=0.01)
        assert np.array_equal(one[sigma == 0], mean[sigma == 0])
    # E[a^2] / 4 per trap.
    expected = math.sqrt(2.0 * 2 / 4) * 5e-3 / math.log(10)
    assert np.sqrt(np.square(sigma).mean()) == pytest.approx(1e-6 * expected, rel=0.02)
    assert np.corrcoef(both[0].ravel(), both[1].ravel())[0, 1] == pytest.approx(0.5, abs=0.02)


def test_the_calibration_reads_other_noise_of_the_same_cells(cell: Cell) -> None:
    """Only noise that a chip keeps has other draws then."""
    later = replace(FIRST, calibrating=True)
    for one in (ProgrammingSpread(4e-3), ThresholdDrift(0.015, 0.02), CurrentSpreads(PROGRAMMED),
                BrokenCells(stuck=0.1)):  # fmt: skip
        assert np.array_equal(drawn(Silicon((one,)), cell), drawn(Silicon((one,)), cell, draw=later))
        assert not Silicon((one,)).noise_of_chip()
    noisy = Silicon((CurrentSpreads(reading=READ, reading_drawn="per_chip"),))
    one, other = (drawn(noisy, cell, draw=draw) - 5.5 for draw in (FIRST, later))
    assert noisy.noise_of_chip() and abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.02


def test_charge_is_lost_by_the_decade_and_in_proportion(cell: Cell) -> None:
    for seconds, decades in ((9.0, 1), (999.0, 3)):
        silicon = Silicon((ChargeLoss(0.01, neutral_volts=2.0),), seconds)
        np.testing.assert_allclose(drawn(silicon, cell), 5.5 - decades * 0.01 * 3.5, rtol=0, atol=1e-12)
        silicon = Silicon((ChargeLoss(0.01),), seconds)
        np.testing.assert_allclose(drawn(silicon, cell), 5.5 - decades * 0.01 * 3.0, rtol=0, atol=1e-12)


def test_mismatch_of_the_die_is_one_shift_and_that_of_cells_is_theirs(cell: Cell) -> None:
    die = Silicon((ThresholdDrift(die_volts=0.02),))
    shifts = [drawn(die, cell, draw=Draw(0, chip, (1,)))[0, 0] - 5.5 for chip in range(400)]
    assert np.std(shifts) == pytest.approx(0.02, rel=0.15)
    one, other = (drawn(die, cell, draw=Draw(0, 3, (place,))) for place in (1, 2))
    assert np.ptp(one) == 0 and np.array_equal(one, other)
    single = drawn(Silicon((ProgrammingSpread(0.01), ThresholdDrift(0.02))), cell)
    assert single.std() == pytest.approx(math.hypot(0.02, 0.01), rel=0.01)


def test_broken_cells_are_erased_or_beyond_the_window(cell: Cell) -> None:
    found = drawn(Silicon((BrokenCells(stuck=0.02, open=0.01),)), cell)
    assert (found == 3.0).mean() == pytest.approx(0.02, rel=0.1)
    assert (found == cell.limits[1]).mean() == pytest.approx(0.01, rel=0.1)
    assert np.isin(found, (3.0, 5.5, 7.5)).all()


def test_one_step_can_change_while_the_others_stay_as_they_were_drawn(cell: Cell) -> None:
    with_both, alone = (
        drawn(Silicon((ThresholdDrift(volts), CurrentSpreads(PROGRAMMED), BrokenCells(0.01))), cell)
        for volts in (0.01, 0.0)
    )
    whole = alone != 3.0
    assert np.array_equal(whole, with_both != 3.0)
    added = drawn(Silicon((ThresholdDrift(0.01),)), cell) - 5.5
    assert (with_both - alone)[whole] == pytest.approx(added[whole], abs=1e-12)


def test_chips_tiles_and_seeds_differ_and_repeat(cell: Cell) -> None:
    silicon = Silicon((CurrentSpreads(PROGRAMMED),))
    draws = [Draw(0, 0, (1,)), Draw(0, 1, (1,)), Draw(1, 0, (1,)), Draw(0, 0, (2,))]
    found = [drawn(silicon, cell, draw=draw) for draw in draws]
    assert all(not np.array_equal(found[0], other) for other in found[1:])
    assert np.array_equal(found[0], drawn(silicon, cell, draw=draws[0]))


def test_thresholds_stay_within_what_a_cell_can_come_to(cell: Cell) -> None:
    found = drawn(Silicon((ThresholdDrift(3.0),)), cell)
    assert (found.min(), found.max()) == cell.limits


@pytest.mark.parametrize(
    "make",
    [
        lambda: BrokenCells(stuck=0.6, open=0.5),
        lambda: Silicon(seconds=-1.0),
        lambda: ThresholdDrift(math.nan),
        lambda: ChargeLoss(math.inf),
        lambda: CurrentSpread(-1e-9, 1e-7),
        lambda: MeanDrift(math.nan, 1e-6, DAY),
        lambda: Retention(-1e-19),
        lambda: Retention(stored_kelvin=0.0),
        lambda: TelegraphNoise(traps=-1.0),
        lambda: TelegraphNoise(drawn="per_day"),  # type: ignore[arg-type]
        lambda: CurrentSpreads(reading_drawn=""),  # type: ignore[arg-type]
    ],
)
def test_silicon_that_cannot_be_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError, match="silicon"):
        make()


@pytest.mark.parametrize("kind", NON_IDEALITIES)
def test_a_mechanism_with_its_defaults_has_no_effect(cell: Cell, kind: type[NonIdeality]) -> None:
    silicon = Silicon((kind(),), DAY)
    assert silicon.mechanisms == ()
    assert np.array_equal(drawn(silicon, cell), drawn(PERFECT, cell))


def test_keys_of_mechanisms_are_distinct() -> None:
    names = [key.name for kind in NON_IDEALITIES for _, key in keys_of(kind)]
    assert len(set(names)) == len(names) > 10


def test_a_new_step_has_a_stream_of_its_own() -> None:
    numbers = [number_of(step) for step in (*NUMBERS, "disturb", "endurance")]
    assert numbers[:10] == list(range(10)) and len(set(numbers)) == 12
    assert all(10 < number < 2**32 for number in numbers[10:])


HEADER = "time_s, temperature_c, target_a, mean_a, sigma_a\n"


@pytest.fixture
def measured(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "cells.csv"
        path.write_text(text)
        return path

    return write


def table(times: tuple[float, ...] = (0.0, 1e5), temperatures: tuple[float, ...] = (25.0, 85.0)) -> str:
    """Return a table whose mean falls by 1 % per decade and 0.1 % per kelvin; sigma is 10 nA, and 30 nA at the end."""
    rows = []
    for t in times:
        for c in temperatures:
            for amps in (0.0, 1e-6):
                mean = amps * (1 - 0.01 * math.log10(1 + t)) * (1 - 0.001 * (c - 25))
                rows.append(f"{t},{c},{amps},{mean},{(3e-8 if t else 1e-8) * (amps > 0)}")
    return "# measured by nobody\n" + HEADER + "\n".join(rows) + "\n"


@pytest.mark.parametrize(("seconds", "celsius"), [(0.0, 25.0), (1e5, 85.0), (999.0, 25.0), (0.0, 55.0)])
def test_a_measured_table_gives_its_mean_and_deviation(
    cell: Cell, measured: Callable[[str], Path], seconds: float, celsius: float
) -> None:
    silicon = Silicon((CurrentSpreads(measured=read_measured(measured(table()))),), seconds)
    found = currents(silicon, replace(cell, temperature_kelvin=273.15 + celsius), 500e-9)
    mean = 500e-9 * (1 - 0.01 * math.log10(1 + seconds)) * (1 - 0.001 * (celsius - 25))
    share = math.log(1 + seconds) / math.log(1 + 1e5)
    sigma = 0.5 * (1e-8 + 2e-8 * share)
    assert found.mean() == pytest.approx(mean, abs=4 * sigma / math.sqrt(found.size))
    assert found.std() == pytest.approx(sigma, rel=0.01)


def test_nothing_is_extrapolated_from_a_measured_table(cell: Cell, measured: Callable[[str], Path]) -> None:
    silicon = Silicon((CurrentSpreads(measured=read_measured(measured(table()))),))
    for changed, kelvin, amps, word in (
        ({"seconds": 2e5}, 300.0, 5e-7, "time"),
        ({}, 380.0, 5e-7, "temperature"),
        ({}, 300.0, 2e-6, "targets"),
    ):
        with pytest.raises(ConfigurationError, match=word):
            drawn(replace(silicon, **changed), replace(cell, temperature_kelvin=kelvin), amps)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "columns time_s"),
        (HEADER, "at least one row"),
        ("time_s,target_a\n0,1\n", "columns time_s"),
        (HEADER + "0,25,1e-6,1e-6\n", "not a table of measured cells"),
        (HEADER + "0,25,1e-6,cat,0\n", "not a table of measured cells"),
        (HEADER + "0,25,1e-6,nan,0\n", "mean_a of row 1 is nan"),
        (HEADER + "0,25,1e-6,1e-6,-1e-9\n", "sigma_a of row 1"),
        (HEADER + "0,25,1e-6,1e-6,0\n0,25,1e-6,1e-6,0\n", "2 times, not once"),
        (HEADER + "0,25,1e-6,1e-6,0\n1,25,2e-6,1e-6,0\n", "0 times, not once"),
    ],
)
def test_a_broken_table_says_what_is_wrong(measured: Callable[[str], Path], text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        read_measured(measured(text))


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.csv"):
        read_measured(tmp_path / "none.csv")


def test_fresh_silicon_has_neither_aged_nor_noise(cell: Cell) -> None:
    spreads, broken = CurrentSpreads(PROGRAMMED, AGED, reading=READ, reading_drawn="per_chip"), BrokenCells(stuck=0.01)
    old = Silicon((ChargeLoss(0.01), TelegraphNoise(5e-3), spreads, broken), DAY)
    fresh = old.fresh()
    assert np.array_equal(drawn(fresh, cell), drawn(Silicon((CurrentSpreads(PROGRAMMED), broken)), cell))


# Thresholds of 4 x 5 cells with everything switched on, row by row: two cells are stuck, two are open.
EVERYTHING = {
    "spreads": """
        0x1.73d1f1824da41p+2 0x1.e000000000000p+2 0x1.6ca7a01583f8ap+2 0x1.6bad5e58f292ep+2 0x1.63c4b47e75029p+2
        0x1.604c4ddb69df9p+2 0x1.e000000000000p+2 0x1.5bc0096d7dd95p+2 0x1.58430135c29a6p+2 0x1.8000000000000p+1
        0x1.50006a8fb97ddp+2 0x1.4cd3e9cfe5904p+2 0x1.4a7a84f81817fp+2 0x1.8000000000000p+1 0x1.434ca1a6a035dp+2
        0x1.3fff9d51b38dcp+2 0x1.3bca3c2e067f8p+2 0x1.3704c5a984cc1p+2 0x1.339c16b3aa872p+2 0x1.3211c49e5cfb8p+2
    """,
    "measured": """
        0x1.73d1f1824da41p+2 0x1.e000000000000p+2 0x1.6c8811de88df2p+2 0x1.6b0ea85d52a5dp+2 0x1.645e8bfe3267bp+2
        0x1.60d936f8647cdp+2 0x1.e000000000000p+2 0x1.5b3291f4b7f05p+2 0x1.5870aec9e96eep+2 0x1.8000000000000p+1
        0x1.4fc35dc048a7cp+2 0x1.4df1c5bc134e4p+2 0x1.499d27b35ef7bp+2 0x1.8000000000000p+1 0x1.41f5ce76fa5fdp+2
        0x1.40b1c7235bed2p+2 0x1.3a6e34cc9726ep+2 0x1.374641c38ec19p+2 0x1.32d2b96e7f6fcp+2 0x1.31716971c6366p+2
    """,
    "fresh": """
        0x1.807523ecfe35bp+2 0x1.e000000000000p+2 0x1.7873c390b2ca5p+2 0x1.7700cc0b2e02fp+2 0x1.70c275d1111b4p+2
        0x1.6cd71d1b05da2p+2 0x1.e000000000000p+2 0x1.66adef1673e61p+2 0x1.63377bebff9d8p+2 0x1.8000000000000p+1
        0x1.5a836c52e7ec4p+2 0x1.57af096811b8bp+2 0x1.53fcd513ddaddp+2 0x1.8000000000000p+1 0x1.4b844b398c318p+2
        0x1.49e176d6ab268p+2 0x1.438bbd91127e0p+2 0x1.4031537e673fap+2 0x1.3c0be15af821ap+2 0x1.399e80f6e1d10p+2
    """,
}


def everything(measured: Measured | None = None) -> Silicon:
    """Return silicon with all non-idealities."""
    parts = (
        TransistorMismatch(0.1, 0.02), PdkMismatch(), ProgrammingSpread(4e-3), ThresholdDrift(0.015, 0.02),
        ChargeLoss(0.01, neutral_volts=2.0), ReadDisturb(), TelegraphNoise(5e-3),
        CurrentSpreads(PROGRAMMED, AGED, DRIFT, READ, "per_chip", measured),
        BrokenCells(stuck=0.1, open=0.1),
    )  # fmt: skip
    assert tuple(map(type, parts)) == NON_IDEALITIES
    return Silicon(parts, DAY)


@pytest.mark.parametrize("kind", EVERYTHING)
def test_a_chip_stays_the_one_that_its_seed_has_always_drawn(
    cell: Cell, measured: Callable[[str], Path], kind: str
) -> None:
    """Random streams and the order of additions must not change; expm1 and log may differ in the last bit between
    machines."""
    tops = "".join(
        f"{t},{c},{amps},{amps * (1 - 0.01 * (t > 0)) * (1 - 0.001 * (c - 25))},{(3e-8 if t else 1e-8) * (amps > 0)}\n"
        for t in (0.0, 1e5) for c in (25.0, 85.0) for amps in (0.0, 1.2e-6)
    )  # fmt: skip
    silicon = everything(read_measured(measured(HEADER + tops)) if kind == "measured" else None)
    target = np.linspace(0.0, 1.1e-6, 20).reshape(4, 5)
    found = (silicon.fresh() if kind == "fresh" else silicon).thresholds(
        threshold_of(target), target, cell, CURVES, Draw(7, 1, (1, 0, 102))
    )
    wanted = np.array([float.fromhex(volts) for volts in EVERYTHING[kind].split()]).reshape(4, 5)
    np.testing.assert_array_max_ulp(found, wanted, maxulp=4)
    assert ((found == 3.0).sum(), (found == 7.5).sum()) == (2, 2)


def test_cells_that_cannot_reach_their_state_are_counted(cell: Cell) -> None:
    """The lowest threshold is 1.5 V, at 4.5 uA: a loss of charge down to -0.5 V lacks 2 V, a mean of 5.5 uA 1 uA."""
    target = np.full((3, 27), 500e-9)
    programmed = threshold_of(target)
    none = Silicon((ProgrammingSpread(1e-3),)).state(programmed, target, cell, CURVES, FIRST)[1]
    assert none == Clipped(81)
    volts, found = Silicon((ChargeLoss(1.0, -0.5),), seconds=1e9).state(programmed, target, cell, CURVES, FIRST)
    assert (volts == 1.5).all() and found == Clipped(81, 81, 0, pytest.approx(2.0), 0.0)
    upwards = MeanDrift(5e-6, 500e-9, 1.0)
    _, found = Silicon((CurrentSpreads(mean_drift=upwards),), seconds=1.0).state(
        programmed, target, cell, CURVES, FIRST
    )
    assert (found.low, found.high) == (81, 0) and found.amps == pytest.approx(1e-6, rel=1e-3)
    assert "81 of 81 cells" in str(found) and "A short" in str(found)


def test_reads_disturb_low_thresholds_most_and_ever_more_slowly(cell: Cell) -> None:
    """Against each read by itself, which lifts a threshold by r exp(-(V_T - V_erased) / s)."""
    start, reads, each, fold = np.array([[3.0, 3.5, 4.5]]), 2000, 2e-4, 0.25
    volts = start.copy()
    for _ in range(reads):
        volts += each * np.exp(-(volts - 3.0) / fold)
    law = ReadDisturb(reads, each, fold)
    one = Silicon((law,)).thresholds(start, np.ones(start.shape), cell, CURVES, FIRST)
    np.testing.assert_allclose(one - start, volts - start, rtol=2e-3)
    assert one[0, 0] - 3.0 > 0.2 and one[0, 2] - 4.5 < 2e-3
    many = Silicon((ReadDisturb(10 * reads, each, fold),)).thresholds(start, np.ones(start.shape), cell, CURVES, FIRST)
    assert many[0, 0] - one[0, 0] == pytest.approx(fold * np.log((1 + 16) / (1 + 1.6)))
    assert law.fresh() == ReadDisturb()
