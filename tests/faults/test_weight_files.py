"""Files of float weights: recognized by what they hold, whatever their name, and refused with what was found."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from norsim.errors import DataError, PlacementError
from norsim.quantization.plain import plain_copy
from norsim.saved.float_weights import load_float


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 10))


STATE = network().state_dict()


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in STATE.items()}


@pytest.mark.parametrize(
    "content",
    [
        STATE, prefixed("module."), prefixed("model."), prefixed("_orig_mod."), prefixed("module._orig_mod.net."),
        {"epoch": 3, "model_state_dict": STATE, "loss": 0.1, "optimizer_state_dict": {"state": {0: {"m": STATE}}}},
        {"state_dict": prefixed("model.") | {"criterion.weight": torch.ones(3)}, "hyper_parameters": {"lr": 0.1}},
        {"net": {"weights": STATE}}, {"ema": STATE}, {"model": prefixed("module.")},
        {name: value for name, value in STATE.items() if "num_batches" not in name},
    ],
)  # fmt: skip
def test_a_state_dict_is_found_wherever_it_is(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pt")
    found = load_float(tmp_path / "w.pt", network())
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize("name", ["UPPER.SAFETENSORS", "w.pt", "pytorch_model.bin", "no_suffix", "w.ckpt"])
@pytest.mark.parametrize(
    "write",
    [
        save_file, torch.save,
        lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    ],
    ids=["safetensors", "zip", "legacy"],
)  # fmt: skip
def test_the_content_decides_not_the_name(tmp_path: Path, name: str, write: Callable[..., None]) -> None:
    write(dict(STATE), tmp_path / name)
    assert torch.equal(load_float(tmp_path / name, network())["3.weight"], STATE["3.weight"])


def saved(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def scripted() -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(network().eval(), torch.ones(1, 1, 8, 8)), file)
    return file.getvalue()


def arrays() -> bytes:
    file = io.BytesIO()
    np.savez(file, w=np.ones(3))
    return file.getvalue()


INDEX = json.dumps({"metadata": {}, "weight_map": {"fc.weight": "model-00001-of-00002.safetensors"}})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a pointer of Git LFS"),
        (lambda: b"/annex/objects/SHA256E-s1--0.pt\n", "a pointer of git-annex"),
        (lambda: b"\n<!DOCTYPE html><html></html>", "a web page"), (lambda: b"<HTML>no</HTML>", "a web page"),
        (lambda: b"", "is empty"), (lambda: b"  \n", "is empty"), (lambda: INDEX.encode(), "the index of 1 files"),
        (lambda: b'{"a": 1}', "is JSON"), (lambda: gzip.compress(saved(STATE)), "compressed with gzip"),
        (lambda: saved(STATE)[:-100], "damaged or incomplete"), (lambda: saved(STATE)[:3000], "damaged or incomplete"),
        (lambda: saved(network()), "only code can read; save network.state_dict"), (scripted, "a scripted network"),
        (lambda: bz2.compress(saved(STATE)), "with bzip2"), (lambda: lzma.compress(saved(STATE)), "compressed with xz"),
        (lambda: b"\xef\xbb\xbf<!-- x --><html>", "a web page"), (lambda: b"<?xml version='1.0'?>", "with markup"),
        (lambda: b"../../.git/annex/objects/ab/cd/SHA256E-s1--a.pt", "a pointer of git-annex"),
        (lambda: saved({"state_dict": STATE, "best": np.float64(3)}), r"objects \(numpy\..*scalar\), which only code"),
        (lambda: saved({"state_dict": STATE, "options": Namespace(lr=1)}), r"objects \(argparse\.Namespace\)"),
        (arrays, "a NumPy archive"), (lambda: b"\x89HDF\r\n\x1a\n", "an HDF5 file"), (lambda: bytes(100), "no tensors"),
        (lambda: (40).to_bytes(8, "little") + b'{"w":{"dtype":"F32"', "not a complete safetensors file"),
        (lambda: saved([1, 2]), "holds a list"), (lambda: saved({"epoch": 3, "lr": 0.1}), "a dict, with epoch, lr"),
    ],
)  # fmt: skip
def test_other_files_are_named_for_what_they_are(tmp_path: Path, content: Callable[[], bytes], problem: str) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content())
    with pytest.raises(DataError, match=problem):
        load_float(path, network())


NARROW = STATE | {"3.weight": torch.ones(10, 32)}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"fc.weight": torch.ones(3, 3)}, r"of 8 entries, the file itself has 0; 8 missing: 0\.weight, .* and 5 more; "
         r"1 not in the network: fc\.weight"),
        ({"state_dict": NARROW}, r"state_dict has 8; 1 of another shape: 3\.weight is \[10, 32\] for \[10, 72\]"),
        ({name: value for name, value in prefixed("model.").items() if "bias" not in name},
         r"has 5 under the prefix 'model\.'; 3 missing: 0\.bias, 1\.bias, 3\.bias"),
        (STATE | {"head.weight": torch.ones(2)}, r"1 not in the network: head\.weight"),
        ({"model": STATE, "ema": STATE}, "holds 2 state dicts that fit: model, ema"),
        (STATE | prefixed("ema."), "holds 2 state dicts that fit"),
        (prefixed("student.") | prefixed("teacher."), "'student.', the file itself with the prefix 'teacher.'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_listed(tmp_path: Path, content: Any, problem: str) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(DataError, match=problem):
        load_float(tmp_path / "w.pt", network())


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_floats_of_any_width_are_converted(tmp_path: Path, kind: torch.dtype) -> None:
    torch.save({name: value.to(kind) if value.is_floating_point() else value for name, value in STATE.items()},
               tmp_path / "w.pt")  # fmt: skip
    found = load_float(tmp_path / "w.pt", network())
    assert found["3.weight"].dtype == torch.float32
    assert torch.equal(found["3.weight"], STATE["3.weight"].to(kind).to(torch.float32))


WEIGHT = STATE["3.weight"]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (lambda: (WEIGHT * 100).to(torch.int8), "is int8"), (lambda: (WEIGHT > 0), "is bool"),
        (lambda: (WEIGHT * 100).to(torch.int64), "is int64"), (lambda: WEIGHT.to(torch.float8_e4m3fn), "is float8_e4m"),
        (lambda: WEIGHT.to(torch.complex64), "is complex64"), (lambda: WEIGHT.to_sparse(), "is sparse .sparse_coo"),
        (lambda: WEIGHT.to_sparse_csr(), "is sparse .sparse_csr"),
        (lambda: torch.quantize_per_tensor(WEIGHT, 0.01, 0, torch.qint8), "is quantized .qint8"),
        (lambda: WEIGHT.to("meta"), "is without values"), (lambda: WEIGHT * torch.inf, "not finite"),
        (lambda: WEIGHT.to(torch.float64) * 1e300, "not finite"),
        (lambda: torch.nested.nested_tensor([WEIGHT[0], WEIGHT[1]]), r"a nested tensor \(float32\)"),
        (lambda: WEIGHT.to(torch.uint16), "is uint16"), (lambda: WEIGHT.to(torch.complex128), "is complex128"),
    ],
)  # fmt: skip
def test_an_entry_that_holds_no_real_numbers_is_named(
    tmp_path: Path, entry: Callable[[], Tensor], problem: str
) -> None:
    torch.save(STATE | {"3.weight": entry()}, tmp_path / "w.pt")
    with pytest.raises(DataError, match=rf"w\.pt: '3\.weight' .*{problem}|w\.pt: '3\.weight' {problem}|{problem}"):
        load_float(tmp_path / "w.pt", network())


def test_integers_are_taken_where_the_network_has_integers(tmp_path: Path) -> None:
    torch.save(STATE | {"1.num_batches_tracked": torch.tensor(7, dtype=torch.int32)}, tmp_path / "w.pt")
    assert load_float(tmp_path / "w.pt", network())["1.num_batches_tracked"] == 7
    torch.save(STATE | {"1.num_batches_tracked": torch.tensor(7.0)}, tmp_path / "w.pt")
    with pytest.raises(DataError, match=r"'1\.num_batches_tracked' is float32; expected a dense tensor of integers"):
        load_float(tmp_path / "w.pt", network())


@pytest.mark.parametrize(
    ("own", "given"),
    [
        (torch.ones(3, dtype=torch.int8), torch.tensor([300, 2, 3])),
        (torch.ones(3, dtype=torch.bool), torch.tensor([7, 0, 1])),
        (torch.ones(3, dtype=torch.uint8), torch.tensor([-1, 0, 1], dtype=torch.int16)),
    ],
)
def test_integers_that_the_type_of_the_network_cannot_hold_are_refused(
    tmp_path: Path, own: Tensor, given: Tensor
) -> None:
    marked = network()
    marked.register_buffer("mask", own)
    torch.save(STATE | {"mask": given}, tmp_path / "w.pt")
    with pytest.raises(DataError, match=r"'mask' holds values that u?\w+, the network's type, cannot hold"):
        load_float(tmp_path / "w.pt", marked)


def test_negative_variances_and_complex_networks_are_refused(tmp_path: Path) -> None:
    torch.save(STATE | {"1.running_var": torch.tensor([1.0, -1.0])}, tmp_path / "w.pt")
    with pytest.raises(DataError, match=r"'1\.running_var' holds negative variances"):
        load_float(tmp_path / "w.pt", network())
    imaginary = network()
    imaginary[3].weight = nn.Parameter(imaginary[3].weight.to(torch.complex64))
    torch.save(STATE, tmp_path / "w.pt")
    with pytest.raises(DataError, match=r"'3\.weight' of the network is complex64"):
        load_float(tmp_path / "w.pt", imaginary)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda w: (w * 100).to(torch.int8), "torch.int8 weights; expected float32: pass the network before its conv"),
        (lambda w: w.to(torch.complex64), "torch.complex64 weights"), (lambda w: w.to(torch.float8_e4m3fn), "float8"),
        (lambda w: w.to_sparse(), "layout torch.sparse_coo"), (lambda w: w * torch.nan, "not finite"),
    ],
)  # fmt: skip
def test_a_network_with_other_weights_than_float32_is_refused_before_it_is_called(
    change: Callable[[Tensor], Tensor], problem: str
) -> None:
    changed = network()
    changed[3].weight = nn.Parameter(change(WEIGHT), requires_grad=False)
    with pytest.raises(PlacementError, match=rf"layer '3' has .*{problem}"):
        plain_copy(changed)
