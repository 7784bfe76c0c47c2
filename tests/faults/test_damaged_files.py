"""Damaged or odd files of networks, data sets and caches, and tools of the project that fail."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from numba import get_num_threads
from onnx import TensorProto, helper
from PIL import Image
from torch import nn

from fuzz.targets import TARGETS, file_of
from norsim.array.compiled import njit
from norsim.commands.shared.streams import named_stdout
from norsim.data import Dataset, load
from norsim.data.arrays import same_source
from norsim.data.cifar10 import CLASSES
from norsim.errors import ConfigurationError, DataError
from norsim.jobs.unit_store import UnitStore, checksum_line, shared_units, unit_files
from norsim.paths import cache_folder
from norsim.solver import simd
from norsim.solver.macro import build, kernels, model
from norsim.solver.nodal import kernels as nodal_kernels
from norsim.solver.nodal import rows_up_kernels
from norsim.solver.nodal.kernels import FAST
from norsim.training.recipes import Recipe
from norsim.training.train import train
from norsim.zoo.onnx.file import build_onnx
from norsim.zoo.registry import NetworkSpec
from tools import dist, quick_tests

# A name that is longer than file systems allow, so that even asking for its kind is an error.
TOO_LONG = 300 * "x"


def cifar10_in(folder: Path, value: int) -> Path:
    for name in CLASSES:
        place = folder / "test" / name
        place.mkdir(parents=True)
        Image.new("RGB", (32, 32), (value, 0, 0)).save(place / "0.png")
    return folder


def test_copies_of_cifar10_with_other_pixels_have_other_sources(tmp_path: Path) -> None:
    one, same, other = (
        load("cifar10", "test", cifar10_in(tmp_path / str(place) / "copy", value)).source
        for place, value in enumerate((1, 1, 2))
    )
    assert one == same != other and one.startswith("CIFAR-10 from folder 'copy'")
    assert same_source(one, same) and not same_source(one, other)


def test_a_source_kept_without_a_hash_is_compared_by_its_text() -> None:
    assert same_source("CIFAR-10 from folder 'a'", "CIFAR-10 from folder 'a', SHA-256 0123")
    assert not same_source("CIFAR-10 from folder 'b'", "CIFAR-10 from folder 'a', SHA-256 0123")
    assert not same_source("CIFAR-10 from folder 'a', SHA-256 0123", "CIFAR-10 from folder 'a'")


def external(name: str) -> TensorProto:
    value = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2, 4], data_location=TensorProto.EXTERNAL)
    value.external_data.add(key="location", value="secret.bin")
    return value


def in_constant() -> list[Any]:
    return [helper.make_node("Constant", [], ["w"], value=external("far"))]


def in_sparse_constant() -> list[Any]:
    places = helper.make_tensor("places", TensorProto.INT64, [1], [0])
    sparse = helper.make_sparse_tensor(external("far"), places, [2, 4])
    return [helper.make_node("Constant", [], ["w"], sparse_value=sparse)]


def in_subgraph() -> list[Any]:
    result = [helper.make_tensor_value_info("v", TensorProto.FLOAT, [2, 4])]
    branch = helper.make_graph([helper.make_node("Identity", ["far"], ["v"])], "b", [], result, [external("far")])
    return [helper.make_node("If", ["x"], ["w"], then_branch=branch, else_branch=branch)]


@pytest.mark.parametrize("nodes", [in_constant, in_sparse_constant, in_subgraph])
def test_onnx_values_in_other_files_are_refused_wherever_they_are(
    nodes: Callable[[], list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("secret.bin").write_bytes(np.ones(8, np.float32).tobytes())
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("x", 4), ("y", 2))]
    last = helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)
    graph = helper.make_graph([*nodes(), last], "g", ends[:1], ends[1:])
    Path("n.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(DataError, match="'far' is in another file"):
        build_onnx(Path("n.onnx"))


@pytest.mark.parametrize("kind", [TypeError, AttributeError, RuntimeError, ImportError])
def test_an_onnx_that_cannot_be_imported_is_named_with_the_cause(
    kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnx.py").write_text(f"raise {kind.__name__}('Descriptors cannot be created directly')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "onnx")
    with pytest.raises(ConfigurationError, match=f"onnx cannot be imported.*{kind.__name__}: Descriptors"):
        build_onnx(tmp_path / "n.onnx", b"")


def trained(folder: Path, resume: bool = False) -> Path:
    images = np.arange(8 * 64, dtype=np.uint8).reshape(8, 1, 8, 8) % 17
    labels = np.arange(8, dtype=np.int64)
    parts = [Dataset("d", split, images, labels, tuple("01234567"), 16, "test") for split in ("train", "test")]
    recipe = Recipe(1, 0, batch_size=8, float_rate=0.1, quantized_rate=0.1, calibration_images=8)
    spec = NetworkSpec("tiny", "d", lambda width: nn.Sequential(nn.Flatten(), nn.Linear(64, 8)), "for this test")
    train(spec, parts[0], parts[1], recipe, folder, resume)
    return folder / "checkpoint.pt"


@pytest.mark.parametrize("lost", ["learner", "epoch", "generator", "records"])
def test_a_checkpoint_without_an_entry_is_refused(lost: str, tmp_path: Path) -> None:
    checkpoint = trained(tmp_path)
    content = torch.load(checkpoint, weights_only=True)
    del content[lost]
    torch.save(content, checkpoint)
    with pytest.raises(DataError, match=f"not a checkpoint of this version.*{lost}.*delete it"):
        trained(tmp_path, resume=True)


@pytest.mark.parametrize(("entry", "value"), [("learner", {}), ("generator", torch.zeros(3)), ("records", [[1]])])
def test_a_checkpoint_with_a_damaged_entry_is_refused(entry: str, value: object, tmp_path: Path) -> None:
    checkpoint = trained(tmp_path)
    torch.save({**torch.load(checkpoint, weights_only=True), entry: value}, checkpoint)
    with pytest.raises(DataError, match="not a checkpoint of this version"):
        trained(tmp_path, resume=True)


def test_caches_are_in_an_absolute_folder_or_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "norsim" and shared_units() == tmp_path / "norsim" / "units"
    monkeypatch.setenv("HOME", "/home/someone")
    for ignored in ("relative", "./cache", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache_folder() == Path("/home/someone/.cache/norsim")


def test_a_user_without_a_home_has_no_shared_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(path: str) -> str:
        return path

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", homeless)
    assert cache_folder() is None and shared_units() is None and unit_files(shared_units()) == []


def test_functions_are_compiled_although_machine_code_cannot_be_kept() -> None:
    # numba finds no folder for the code of a file that does not exist.
    names: dict[str, Any] = {}
    exec(compile("def double(x):\n    return 2 * x\n", "/nowhere/code.py", "exec"), names)
    assert njit(error_model="numpy")(names["double"])(21) == 42
    assert get_num_threads() >= 1


def test_constants_of_cached_kernels_are_in_their_own_file() -> None:
    assert rows_up_kernels.FAST == nodal_kernels.FAST and rows_up_kernels.HOT == nodal_kernels.HOT
    assert kernels.SUMS == FAST | {"reassoc"} and build.SLOPE_TERMS is kernels.SLOPE_TERMS
    digest = hashlib.sha256(Path(simd.__file__).read_bytes()).hexdigest()
    for module in (kernels, nodal_kernels, rows_up_kernels):
        text = Path(module.__file__).read_text()
        ours = [line for line in text.splitlines() if line.startswith(("from norsim", "import norsim"))]
        assert ours == ["from norsim.array.compiled import inner, njit", "from norsim.solver.simd import ("]
        # A change of simd.py must change the files of kernels too, at which numba's cache looks.
        assert digest.startswith(module.SIMD)
    assert not hasattr(model, "TERMS")


def test_folders_of_images_that_cannot_be_listed_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, place in (("cifar10", tmp_path / TOO_LONG), (str(tmp_path / TOO_LONG), None)):
        with pytest.raises(DataError, match="cannot be read"):
            load(name, "test", place)
    folder = cifar10_in(tmp_path / "copy", 1)

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(DataError, match=r"test cannot be read \(Permission denied\)"):
        load("cifar10", "test", folder)


def test_a_property_classes_that_fails_is_named_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text(
        "class Data:\n"
        "    def __len__(self):\n        return 1\n"
        "    def __getitem__(self, index):\n        return [[[0.0]]], 0\n"
        "    @property\n    def classes(self):\n        raise KeyError('names')\n"
        "def data(split):\n    return Data()\n"
    )
    with pytest.raises(ConfigurationError, match=r"data\.py.*KeyError"):
        load(f"{tmp_path / 'data.py'}:data", "test")


@pytest.mark.parametrize(
    ("encoding", "printed"), [("ascii", b"25 ?C\n"), ("latin-1", b"25 \xb0C\n"), ("utf-8", b"25 \xc2\xb0C\n")]
)
def test_characters_that_stdout_lacks_are_replaced(
    encoding: str, printed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(content, encoding=encoding))
    with named_stdout():
        print("25 °C")
    assert content.getvalue() == printed


def test_a_file_name_that_is_no_text_is_printed_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(content, encoding="utf-8"))
    with named_stdout():
        print(b"run\xff".decode("utf-8", "surrogateescape"))
    assert content.getvalue() == b"run\xff\n"


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet file"])
def test_a_unit_that_is_no_table_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "ab12.parquet").write_bytes(content)
    (tmp_path / "ab" / "ab12.sha256").write_text(checksum_line("ab12.parquet", content))
    with pytest.raises(DataError, match="ab12.parquet is not a unit"):
        UnitStore((tmp_path,)).get("ab12")


def test_the_fuzz_target_of_units_reaches_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    read, calls = pq.read_table, []
    monkeypatch.setattr(pq, "read_table", lambda source: calls.append(1) or read(source))
    TARGETS["unit"].read(TARGETS["unit"].seeds()[0])
    assert calls


@pytest.mark.parametrize("refused", [False, True])
def test_files_left_behind_are_found_although_the_input_is_refused(refused: bool) -> None:
    with pytest.raises(AssertionError, match="left behind"), file_of(b"", "x") as path:
        path.with_name("rest").touch()
        if refused:
            raise DataError("damaged")


def test_quick_tests_fail_if_git_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="git ls-files failed"):
        quick_tests.git("ls-files", "--no-such-option")
    assert quick_tests.git("merge-base", "HEAD", "no-such-branch") == []
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="git does not run"):
        quick_tests.git("ls-files")


def test_archives_are_built_beside_older_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def building(words: list[str], place: object = None) -> str:
        folder = Path(words[words.index("--outdir") + 1])
        for name in ("norsim-2-py3-none-any.whl", "norsim-2.tar.gz"):
            (folder / name).write_bytes(b"new")
        return ""

    for name in ("norsim-1-py3-none-any.whl", "norsim-1.tar.gz"):
        (tmp_path / name).write_bytes(b"old")
    monkeypatch.setattr(dist, "run", building)
    monkeypatch.setattr(dist, "tracked", lambda place: None)
    wheel, sdist = dist.build(tmp_path, borrow=True)
    assert (wheel.name, sdist.name) == ("norsim-2-py3-none-any.whl", "norsim-2.tar.gz")
    assert wheel.read_bytes() == sdist.read_bytes() == b"new" and len(list(tmp_path.iterdir())) == 4
