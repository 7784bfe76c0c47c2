"""The benchmarks run on tiny tiles, and the page they write has every claim."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import memory, network, page, resistors
from benchmarks.claims import CLAIMS
from benchmarks.measure import Measured, slope, spread
from benchmarks.plan import TINY, Found, run
from norsim.backends.registry import read
from norsim.solver.input_lines import Driven

# The peer is installed from a package index, which a test must do without; processes of their own take long.
WHOLE = ("setup-cold", "setup-warm", "transformer-start", "memory-tiles", "memory-dry-run", "dry-run-networks")
PEER = {"peer-speed": 2e3, "peer-speed-batch": 2e3, "peer-error": 1e-6, "peer-nodal": 1e-12}


@pytest.fixture(scope="module")
def found() -> Found:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.plan._peer", lambda plan: {key: spread([value]) for key, value in PEER.items()})
        patch.setattr("benchmarks.memory.peak", lambda case, batch, repeats: spread([1.0]))
        patch.setattr("benchmarks.runs.two_workers_over_one", lambda vectors, repeats: spread([0.6]))
        patch.setattr("benchmarks.runs.foretold", lambda commands: spread([1.5]))
        patch.setattr("benchmarks.growth.commands", lambda wanted, images: {key: spread([1.0]) for key in WHOLE})
        patch.setattr("benchmarks.speed.LEAST_SECONDS", 0.0)
        return run(TINY)


def claims_in(text: str) -> list[str]:
    """The first column of the page's table of claims."""
    table = text.partition("## Claims\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| ([^|]+?) \|(?!---)", table, re.MULTILINE)[1:]


def test_a_tiny_run_measures_every_claim(found: Found) -> None:
    assert set(found.claims) == {claim.key for claim in CLAIMS}
    for claim in CLAIMS:
        measured = found.claims[claim.key]
        assert np.isfinite(measured.value), claim.key
        # A ratio of times that are differences drowns in noise on tiles this small; its sign says nothing.
        if not claim.key.startswith(("growth", "nodal-speed")):
            assert 0 < measured.low <= measured.value <= measured.high, claim.key


def test_small_tiles_keep_the_bounds_of_accuracy(found: Found) -> None:
    for claim in CLAIMS:
        if "-error" in claim.key:
            assert claim.met(found.claims[claim.key]), claim.key


def test_the_page_of_a_run_has_every_claim(found: Found) -> None:
    text = page.page(found)
    assert page.WRITTEN_BY in text
    assert claims_in(text) == [claim.text for claim in CLAIMS]
    assert text.count("**not met**") == len(page.unmet(found))


def test_the_page_in_docs_was_written_by_the_command() -> None:
    text = page.PAGE.read_text()
    assert page.WRITTEN_BY in text
    assert claims_in(text) == [claim.text for claim in CLAIMS]
    stated = re.search(r"\*\*(\d+) of \d+ bounds are not met\*\*", text)
    assert text.count("| **not met** |") == (int(stated[1]) if stated else 0)


def test_peak_memory_is_printed_in_gibibytes(capsys: pytest.CaptureFixture[str]) -> None:
    memory.main("8", "16", "bit-serial", "16")
    assert 0.1 < float(capsys.readouterr().out) < 16


def test_an_evaluation_is_measured_against_the_float_network() -> None:
    times = network.measured("digits-cnn", None, images=20, repeats=2)
    ratio = times.ratio()
    assert len(times.plain) == len(times.array) == 2 and 1 < ratio.low <= ratio.value <= ratio.high


def test_a_bound_is_never_met_by_nothing() -> None:
    nothing = Measured(np.nan, np.nan, np.nan)
    assert not any(claim.met(nothing) for claim in CLAIMS)


def test_slope_finds_a_power() -> None:
    sizes = [64, 128, 256]
    assert slope(sizes, [3e-9 * size**1.7 for size in sizes]) == pytest.approx(1.7)


def test_the_peer_is_given_the_network_that_norsim_solves() -> None:
    """A dense solve of badcrossbar's network, by its own description, meets ngspice on norsim's."""
    of = resistors.network(3, 4, 50.0)
    x = np.random.default_rng(2).integers(0, 16, (2, 4)) / 15
    volts = resistors.TOP_VOLTS * x.T[::-1]
    lines, columns = of.resistances.shape
    size, segment = lines * columns, 1 / of.ohms
    matrix, right = np.zeros((2 * size, 2 * size)), np.zeros((2 * size, 2))

    def wire(a: int, b: int | None, siemens: float) -> None:
        matrix[a, a] += siemens
        if b is not None:
            matrix[b, b] += siemens
            matrix[a, b] -= siemens
            matrix[b, a] -= siemens

    for m in range(lines):
        for n in range(columns):
            word, bit = m * columns + n, size + m * columns + n
            wire(word, bit, 1 / of.resistances[m, n])
            wire(word, word - 1 if n else None, segment)
            wire(bit, bit + columns if m + 1 < lines else None, segment)
        right[m * columns] = segment * volts[m]
    grounded = np.linalg.solve(matrix, right)[2 * size - columns :] * segment
    drive = Driven("bitlines", resistors.TOP_VOLTS, 0.0)
    currents = read(of.tile, drive.stimulus(x, of.tile), "ngspice")
    np.testing.assert_allclose(currents.source, grounded.T, rtol=1e-7)


def test_the_peers_are_pinned() -> None:
    lines = Path(resistors.REQUIREMENTS).read_text().splitlines()
    assert all(re.fullmatch(r"[a-z]+==[\d.]+", line) for line in lines if not line.startswith("#"))
