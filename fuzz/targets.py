"""The readers of untrusted files, each as a function of a file's bytes, with seed inputs.

A target can return or raise a NorsimError. Any other exception, or a file left behind, is a finding.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import helper, numpy_helper
from PIL import Image

from fuzz import kit_syntax
from fuzz.checkpoints import checkpoint, checkpoint_seeds
from fuzz.onnx_attributes import onnx_attributes, onnx_attributes_seeds
from norsim.array.cell import Cell
from norsim.array.tile import Currents, Stimulus, Tile
from norsim.array.wires import Wires
from norsim.chip.load import build_chip, load_chip, presets, read_chip_file
from norsim.configuration.strict_yaml import parse_yaml, yaml_text
from norsim.data import cifar10, npz
from norsim.data.restricted_pickle import load_dict
from norsim.errors import NorsimError
from norsim.jobs.unit_store import UnitStore, checksum_line, currents_of, currents_table
from norsim.paths import models_folder, netlists_folder
from norsim.quantization.layer import QuantizedLayer
from norsim.saved.network_folder import load_network
from norsim.saved.packed_weights import decode
from norsim.spice.dialects import hspice, neospice, xyce
from norsim.spice.model_files import Source
from norsim.spice.rawfile import read_raw
from norsim.spice.results import read_results
from norsim.tiling.deck_folder import load_folder, save_array
from norsim.tiling.vectors import read_vectors
from norsim.zoo.onnx.file import build_onnx

METERS = ["i(vbl0)", "i(vret)"]
NETWORK = models_folder() / "networks" / "digits-cnn"


@dataclass(frozen=True)
class Target:
    """A fuzz target: `read` takes a file's bytes; `seeds` returns valid contents to mutate."""

    read: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]


@contextmanager
def file_of(content: bytes, name: str, checksum: bool = False) -> Iterator[Path]:
    """Write a file with that content in a temporary folder, in memory if possible; with `checksum`, that of a unit too.

    Raises AssertionError if a reader leaves other files there, also if it refuses the file.
    """
    home = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="norsim-fuzz-", dir=home) as folder:
        path = Path(folder) / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        if checksum:
            path.with_suffix(".sha256").write_text(checksum_line(path.name, content))
        before = set(Path(folder).rglob("*"))
        try:
            yield path
        except NorsimError:
            _check_left(Path(folder), before)
            raise
        _check_left(Path(folder), before)


def _check_left(folder: Path, before: set[Path]) -> None:
    left = sorted(set(folder.rglob("*")) - before)
    if left:
        raise AssertionError(f"left behind: {left}")


def raw(content: bytes) -> None:
    with file_of(content, "currents.raw") as path:
        table = read_raw(path, METERS, 2)
        assert table.shape == (2, 2) and np.isfinite(table).all()


def raw_seeds() -> list[bytes]:
    names = ["v(idx)", *METERS]
    head = ["Title: * x", "Plotname: DC", "Flags: real", "No. Variables: 3", "No. Points: 2", "Variables:"]
    lines = [*head, *(f"\t{k}\t{name}\tcurrent" for k, name in enumerate(names)), "Binary:", ""]
    return ["\n".join(lines).encode() + struct.pack("<6d", 0, 1e-6, 2e-6, 1, -3e-6, 4e-6)]


def results(content: bytes) -> None:
    with file_of(content, "results") as path:
        table = read_results(path, METERS, 2).table
        assert table.shape == (2, 2) and np.isfinite(table).all()


def results_seeds() -> list[bytes]:
    listing = "x\n volt current current\n vbl0 vret\n 0. 1.0000u 1.0e-6\n 1. 2.0000n 2.0n\ny\n ***** job concluded\n"
    head = "#H\nANALYSIS='DC' COMPLEXVALUES='NO'\nNODES='2'\n#N 'I(vbl0)' 'I(vret)'\n"
    csdf = f"{head}#C 0 2 1e-6:1 2e-6:2\n#C 1 2 1 2\n#;\n"
    prn = "Index I(VBL0) I(VRET)\n0 1e-6 2e-6\n1 3e-6 4e-6\nEnd of Xyce(TM) Simulation\n"
    csv = "I(VBL0),I(VRET)\n1e-6,2e-6\n3e-6,4e-6\n"
    return [text.encode() for text in (listing, csdf, prn, csv)]


def dialect(content: bytes) -> None:
    """Write a cell, whose cards follow a form feed, in other dialects."""
    netlist, _, card = content.decode("latin-1").partition("\f")
    cell = Cell("c", f".subckt c d g s b vt=3\n{netlist}\n.ends", card, "vt", 0.0, 20.0)
    tile, stimulus = Tile([[3.0]], cell, Wires()), Stimulus([[5.0], [0.0]], [[0.5], [0.5]])
    for deck in (hspice.deck, xyce.deck, neospice.deck):
        with suppress(NorsimError):
            assert not any(line.startswith((".control", "*#")) for line in deck(tile, stimulus).lower().split("\n"))


def dialect_seeds() -> list[bytes]:
    card = (models_folder() / "devices" / "etox65.lib").read_bytes()
    bodies = [path.read_bytes() for path in (netlists_folder() / "cells").iterdir() if path.is_file()]
    return [body + b"\f" + card for body in bodies]


def folder(content: bytes) -> None:
    """Load the array of a folder written by build-netlist."""
    told = {
        "layer": "fc", "tile": [0, 0], "weights": [[1]], "weight_zero": 0, "sense": [[["i(vbl0)", 1]]],
        "points": [[0, 0]], "full_scale_amps": 1e-6,
    }  # fmt: skip
    with file_of(content, "tile.npz") as path:
        beside = path.parent / "tile.json"
        beside.write_text(json.dumps(told))
        try:
            load_folder(path.parent, load_chip("etox65"))
        finally:
            beside.unlink()


def folder_seeds() -> list[bytes]:
    tile, sink = Tile([[3.0]], load_chip("etox65").cell, Wires()), io.BytesIO()
    save_array(sink, tile, Stimulus([[5.0]], [[0.5]]), np.array([[1]], np.uint8))
    return [sink.getvalue()]


def source(content: bytes) -> None:
    with file_of(content, "cell.sp") as path:
        text = Source((path.parent,)).read(path)
        for line in text.lower().split("\n"):
            assert not line.strip(" \t").startswith((".control", "*#")), line


def source_seeds() -> list[bytes]:
    cells = [path.read_bytes() for path in (netlists_folder() / "cells").iterdir() if path.is_file()]
    return [*cells, b"* x\n.lib a\n.param b=1\n.endl\n.include 'cell.sp'\n.lib cell.sp a\n+ c=2\n"]


def chip(content: bytes) -> None:
    with file_of(content, "chip.yaml") as path:
        build_chip(*read_chip_file(path))


def chip_seeds() -> list[bytes]:
    return [path.read_bytes() for path in presets().values()]


def scalars(content: bytes) -> None:
    """Put a scalar, after the first byte, at the place in the preset that the first byte chooses."""
    text = content[1:].decode("latin-1")
    base = presets()["etox65"].read_text().splitlines()
    places = [number for number, line in enumerate(base) if SCALAR.match(line)]
    number = places[(content[0] if content else 0) % len(places)]
    match = SCALAR.match(base[number])
    assert match is not None
    base[number] = match[1] + text
    with file_of("\n".join(base).encode(), "chip.yaml") as path:
        found, _ = read_chip_file(path)
        # What is read is written so that it is read again.
        assert parse_yaml(yaml_text(found)) == found
        build_chip(found, path)


SCALAR = re.compile(r"(\s*\w+: )\S+")


def scalars_seeds() -> list[bytes]:
    texts = [
        "8", "08", "010", "0x10", "1_000", "1:30", "8.0", "1e3", ".inf", "-.nan", "yes", "~", "", "null", "true", "'8'",
        "2020-01-01", "0.5 V", "1 degC", "-3 uA", "1 kohm", "[a, b]", "{a: 1, a: 2}", "!!int '8'", "&a 1", "*a", "|",
        '"\\ud800"', "0b1", "0o7", "=", "1e999", "nan V", "1 V/A", "bit-serial", "a\nname: b",
    ]  # fmt: skip
    return [bytes([7 * place]) + text.encode() for place, text in enumerate(texts)]


def weights(content: bytes) -> None:
    with file_of(content, "weights.safetensors") as path:
        decode(path)


def weights_seeds() -> list[bytes]:
    return [(NETWORK / "weights.safetensors").read_bytes()]


def onnx_file(content: bytes) -> None:
    with file_of(content, "network.onnx") as path:
        build_onnx(path)


def onnx_seeds() -> list[bytes]:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1], group=2),
        helper.make_node("BatchNormalization", ["a", "s", "s", "s", "s"], ["b"]),
        helper.make_node("Reshape", ["b", "shape"], ["c"]), helper.make_node("Gemm", ["c", "v"], ["d"]),
        helper.make_node("ConstantOfShape", ["two"], ["e"]), helper.make_node("Add", ["d", "e"], ["y"]),
    ]  # fmt: skip
    values = {
        "w": np.ones((2, 1, 3, 3), np.float32), "s": np.ones(2, np.float32), "shape": np.array([0, -1]),
        "v": np.ones((8, 2), np.float32), "two": np.array([1, 2]),
    }  # fmt: skip
    ends = [helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", ["n", 2, 2, 2]), ("y", ["n", 2]))]
    constants = [numpy_helper.from_array(value, name) for name, value in values.items()]
    made = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    return [helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()]


def checkpoint_file(content: bytes) -> None:
    with file_of(b"", "weights.pt") as path:
        checkpoint(content, path)


def card(content: bytes) -> None:
    with file_of(content, "card.json") as path:
        extra = path.parent / "weights.safetensors"
        extra.write_bytes((NETWORK / "weights.safetensors").read_bytes())
        try:
            load_network(path.parent)
        finally:
            extra.unlink()


def card_seeds() -> list[bytes]:
    return [(NETWORK / "card.json").read_bytes()]


def pickled(content: bytes) -> None:
    with file_of(content, "data_batch_1") as path:
        load_dict(path)


def pickled_seeds() -> list[bytes]:
    batch = {b"data": np.zeros((2, 3), np.uint8), b"labels": [1, 2], b"batch_label": b"x"}
    return [pickle.dumps(batch, protocol) for protocol in (2, 4)]


def binary(content: bytes) -> None:
    with file_of(content, "cifar/test_batch.bin") as path:
        cifar10.load("test", path.parent)


def binary_seeds() -> list[bytes]:
    return [bytes([7]) + bytes(3072)]


def npz_file(content: bytes) -> None:
    with file_of(content, "data.npz") as path:
        npz.load(path, "test")


def npz_seeds() -> list[bytes]:
    found = []
    for write, shape in ((np.savez, (2, 3, 4)), (np.savez_compressed, (2, 3, 4, 3))):
        sink, images, labels = io.BytesIO(), np.ones(shape, np.uint8), np.array([0, 1])
        write(sink, train_images=images, train_labels=labels, test_images=images, test_labels=labels,
              classes=np.array(["ant", "bee"]), full_scale=np.array(16))  # fmt: skip
        found.append(sink.getvalue())
    return found


def parquet(content: bytes) -> None:
    with file_of(content, "cifar/test-00000-of-00001.parquet") as path:
        cifar10.load("test", path.parent)


def parquet_seeds() -> list[bytes]:
    image, sink = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (32, 32), (1, 2, 3)).save(image, "PNG")
    pq.write_table(pa.table({"img": [{"bytes": image.getvalue(), "path": "a.png"}], "label": [3]}), sink)
    return [sink.getvalue()]


@cache
def layer() -> QuantizedLayer:
    return QuantizedLayer("fc", np.zeros((2, 3), np.uint8), 0, np.ones(2), 4, 1.0, 0, 4)


def vectors(content: bytes) -> None:
    with file_of(content, "vectors.npy") as path:
        codes = read_vectors(path, layer(), None)
        assert codes.shape[1] == 3 and codes.max() <= 15


def vectors_seeds() -> list[bytes]:
    sink = io.BytesIO()
    np.save(sink, np.array([[1, 2, 3]], np.uint8))
    return [sink.getvalue()]


def unit(content: bytes) -> None:
    with file_of(content, "ab/ab12.parquet", checksum=True) as path:
        table = UnitStore((path.parent.parent,)).get("ab12")
        assert table is not None and currents_of(table)


def unit_seeds() -> list[bytes]:
    sink = io.BytesIO()
    pq.write_table(currents_table(Currents(np.ones((2, 1)), np.ones((2, 1)), np.ones(2, bool), np.ones(2), "x")), sink)
    return [sink.getvalue()]


TARGETS = {
    name: Target(read, seeds)
    for name, read, seeds in [
        ("raw", raw, raw_seeds), ("results", results, results_seeds), ("dialect", dialect, dialect_seeds),
        ("folder", folder, folder_seeds), ("source", source, source_seeds), ("chip", chip, chip_seeds),
        ("scalars", scalars, scalars_seeds),
        ("weights", weights, weights_seeds), ("card", card, card_seeds), ("onnx", onnx_file, onnx_seeds),
        ("pickle", pickled, pickled_seeds),
        ("binary", binary, binary_seeds), ("parquet", parquet, parquet_seeds), ("npz", npz_file, npz_seeds),
        ("vectors", vectors, vectors_seeds),
        ("unit", unit, unit_seeds),
        ("onnx-attributes", onnx_attributes, onnx_attributes_seeds),
        ("checkpoint", checkpoint_file, checkpoint_seeds),
        ("kit", kit_syntax.read, kit_syntax.seeds),
    ]
}  # fmt: skip
