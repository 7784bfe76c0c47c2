"""Models kept on disk: the same bytes as built ones, under keys that change with what determines them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from norsim.array.tile import Stimulus, Tile
from norsim.array.wires import Wires
from norsim.backends import characterised
from norsim.backends.macro import Macro
from norsim.caches.arrays import MODELS
from norsim.solver.input_lines import driven
from norsim.solver.macro import stored
from norsim.solver.macro.stored import arrays_of, model_key, model_of
from norsim.solver.macro.tables import Tabulated
from tests.solver.arrays import ENCODINGS, Array, array_of

Request = tuple[Tile, Stimulus]


@pytest.fixture(autouse=True)
def builds(own_arrays: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the tiles whose models are built; no model is in memory at first."""
    names: list[str] = []
    usual = characterised.built

    def counted(tile: Tile, *others: object) -> Tabulated:
        names.append(tile.name)
        return usual(tile, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(characterised, "built", counted)
    characterised.macro_model.cache_clear()
    yield names
    characterised.macro_model.cache_clear()


def request_of(array: Array, name: str = "tile") -> Request:
    return replace(array.tile, name=name), array.stimulus(2, 1)


def same(one: Tabulated, other: Tabulated) -> bool:
    first, second = arrays_of(one), arrays_of(other)
    return first.keys() == second.keys() and all(
        (values.dtype, values.shape, values.tobytes())
        == (second[name].dtype, second[name].shape, second[name].tobytes())
        for name, values in first.items()
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_cold_and_warm_give_the_same_bytes(encoding: str, builds: list[str]) -> None:
    # Long lines, so that there are several blocks.
    array = array_of(encoding, 40, 12, times=8.0)
    tile, stimulus = request_of(array)
    cold = characterised.reduced(tile, stimulus)
    characterised.macro_model.cache_clear()
    warm = characterised.reduced(tile, stimulus)
    assert len(builds) == 1 and warm is not cold and same(cold, warm)
    codes, passes = array.codes(30, 3), array.encoding.passes(4)
    top = array.encoding.top_drive
    assert cold.lines(codes, passes, top).tobytes() == warm.lines(codes, passes, top).tobytes()
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 2, (20, array.inputs)).astype(np.float32))
    assert torch.equal(cold.model.lines(x), warm.model.lines(x))


def test_a_model_and_its_arrays_are_the_same() -> None:
    found = characterised.reduced(*request_of(array_of("bit-serial", 20, 9)))
    assert same(found, model_of(arrays_of(found)))
    assert not same(found, replace(found, error=2 * found.error))


def test_a_model_that_is_first_needed_in_inference_mode_can_be_trained_through(builds: list[str]) -> None:
    tile, stimulus = request_of(array_of("bit-serial", 20, 9))
    for _ in ("built", "from disk"):
        characterised.macro_model.cache_clear()
        with torch.inference_mode():
            found = characterised.reduced(tile, stimulus)
        x = torch.rand(2, tile.wordlines, requires_grad=True)
        found.model.lines(x).sum().backward()
        assert x.grad is not None and x.grad.abs().max() > 0
    assert len(builds) == 1


def test_a_damaged_model_is_built_again(builds: list[str]) -> None:
    tile, stimulus = request_of(array_of("bit-serial", 20, 9))
    first = characterised.reduced(tile, stimulus)
    (path,) = MODELS.files()
    path.write_bytes(path.read_bytes()[:-100])
    characterised.macro_model.cache_clear()
    again = characterised.reduced(tile, stimulus)
    assert len(builds) == 2 and same(first, again)
    characterised.macro_model.cache_clear()
    characterised.reduced(tile, stimulus)
    assert len(builds) == 2  # and was repaired


def test_the_key_changes_with_everything_that_determines_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    tile, stimulus = request_of(array_of("bit-serial", 20, 9))
    drive, other = driven(stimulus), tile.thresholds.copy()
    other[3, 4] += 1e-9
    ones = np.ones(other.shape)
    tiles = [
        tile,
        replace(tile, thresholds=other),
        replace(tile, thresholds=tile.thresholds.T.copy(), wordline_notes=(), bitline_notes=()),
        replace(tile, gains=ones),
        replace(tile, gains=1.01 * ones),
        replace(tile, wires=replace(tile.wires, bitline_ohms=0.5)),
        replace(tile, wires=replace(tile.wires, strap_every=3)),
        *(replace(tile, cell=replace(tile.cell, **change)) for change in (
            {"netlist": tile.cell.netlist + "\n*"}, {"models": tile.cell.models + "\n*"}, {"temperature_kelvin": 350.0},
            {"erased_volts": 2.9}, {"programmed_volts": 6.1},
        )),
    ]  # fmt: skip
    drives = [replace(drive, top_volts=4.9), replace(drive, rest_volts=0.4), replace(drive, direction="bitlines")]
    keys = [model_key(one, drive, "ngspice-1") for one in tiles] + [model_key(tile, one, "ngspice-1") for one in drives]
    keys.append(model_key(tile, drive, "ngspice-2"))
    monkeypatch.setattr(stored, "MADE_BY", ("another version of the code",))
    keys.append(model_key(tile, drive, "ngspice-1"))
    assert len(set(keys)) == len(keys)
    monkeypatch.undo()
    renamed = replace(tile, name="another", notes=("a note",))
    assert model_key(renamed, drive, "ngspice-1") == keys[0]


def test_models_of_a_layer_are_built_together_and_shared_with_later_runs(builds: list[str]) -> None:
    requests = [request_of(array_of("bit-serial", 20, 9, seed=seed), str(seed)) for seed in range(5)]
    alone = characterised.built(requests[3][0], driven(requests[3][1]))
    builds.clear()
    counted: list[tuple[int, int]] = []
    Macro().prepare(requests, lambda done, total: counted.append((done, total)))
    assert sorted(builds) == list("01234") and counted == [(done, 5) for done in range(1, 6)]
    assert same(alone, characterised.reduced(*requests[3]))
    assert len(MODELS.files()) == 5 and all(Macro().is_stored(*request) for request in requests)
    characterised.macro_model.cache_clear()
    Macro().prepare(requests, lambda done, total: None)
    assert len(builds) == 5


def test_an_error_of_one_tile_is_raised_as_it_is() -> None:
    tile, stimulus = request_of(array_of("linear-pair", 8, 4))
    two_rows = replace(tile, wires=Wires(rows_per_source_line=2, strap_every=4))
    with pytest.raises(Exception, match="macro sums along source lines only if each row has its own line"):
        Macro().prepare([(tile, stimulus), (two_rows, stimulus)], lambda done, total: None)


def test_models_do_not_outgrow_their_share_of_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    found = characterised.reduced(*request_of(array_of("bit-serial", 20, 9)))
    size = MODELS.files()[0].stat().st_size
    monkeypatch.setattr(stored, "MODELS", replace(MODELS, most_bytes=4 * size))
    for number in range(12):
        stored.store_model(stored.key_of(number), found)
    assert 1 <= len(MODELS.files()) <= 4
