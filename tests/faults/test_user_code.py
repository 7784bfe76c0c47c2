"""User-supplied Python files: whose modules they import, how often they are called, and which results may be reused."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import norsim as toolkit
from norsim.data import load
from norsim.errors import ConfigurationError, DataError
from norsim.jobs.unit_store import UnitStore
from norsim.user_code import call_code, code_of
from norsim.zoo.attributes import attributes, has_own_code
from norsim.zoo.registry import build

Run = Callable[..., Any]
LIGHT = (
    "--images", 20, "--spice-sample", 1, "--proof-images", 0, "--set", "calibration.reads=8", "--set",
    "calibration.images=16", "--quiet", "--json",
)  # fmt: skip


def files(folder: Path, **content: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in content.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_each_file_has_the_module_beside_it(tmp_path: Path) -> None:
    reads = "from utils import VALUE\ndef get(): return VALUE\n"
    for name in "ab":
        files(tmp_path / name, net=reads, utils=f"VALUE = {name!r}\n")
    before = set(sys.modules), list(sys.path)
    assert [call_code(f"{tmp_path}/{name}/net.py:get") for name in "aba"] == ["a", "b", "a"]
    assert "utils" not in set(sys.modules) - before[0] and sys.path == before[1]


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("import utils; return utils.VALUE", 1), ("from utils import VALUE as v; return v", 1),
        ("import deep.inner; return deep.inner.VALUE", 2), ("from deep import inner as i; return i.VALUE", 2),
        ("from deep import OUTER; return OUTER", 2), ("from . import utils; return utils.VALUE", 1),
        ("import loose.part as p; return p.VALUE", 3), ("import random; return random.randint(5, 5)", 5),
        ("import importlib; return importlib.import_module('utils').VALUE", 1),
        ("from circle import back; return back()", 6), ("import json as j; return j.loads('4')", 4),
    ],
)  # fmt: skip
def test_functions_import_what_lies_beside_the_file(tmp_path: Path, statement: str, found: int) -> None:
    """At any time, with packages, relative imports, folders without `__init__.py` and circles; the standard library
    keeps its names."""
    files(tmp_path, net=f"SIX = 6\ndef get():\n    {statement}\n", utils="VALUE = 1\n", random="randint = None\n",
          circle="import net\ndef back(): return net.SIX\n")  # fmt: skip
    files(tmp_path / "deep", __init__="from .inner import VALUE as OUTER\n", inner="from deeper import VALUE\n")
    files(tmp_path, deeper="VALUE = 2\n")
    files(tmp_path / "loose", part="VALUE = 3\n")
    assert call_code(f"{tmp_path}/net.py:get") == found
    assert not {"utils", "deep", "deeper", "loose", "circle"} & set(sys.modules)


def test_a_module_of_the_calling_program_is_not_taken_for_the_one_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = ModuleType("utils")
    mine.VALUE = "of the program"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "utils", mine)
    files(tmp_path / "a", net="def get():\n    import utils\n    return utils.VALUE\n", utils="VALUE = 'beside'\n")
    files(tmp_path / "b", net="def get():\n    import utils\n    return utils.VALUE\n")
    assert call_code(f"{tmp_path}/a/net.py:get") == "beside"
    assert call_code(f"{tmp_path}/b/net.py:get") == "of the program" and sys.modules["utils"] is mine


LAZY = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)
    def forward(self, x):
        from helper import flat
        return self.head(flat(x))
def make():
    from torch_like import seeded
    seeded(0)
    return Net()
"""
HELPERS = {
    "helper": "def flat(x): return x.flatten(1)\n",
    "torch_like": "import torch\nfrom torch import manual_seed as seeded\n",
}


def test_imports_in_a_function_and_in_a_forward_find_the_folder(
    norsim: Run,
    tmp_path: Path,
) -> None:
    files(tmp_path, net=LAZY, **HELPERS)
    ended = norsim("eval-network", "--model", f"{tmp_path}/net.py:make", "--dataset", "digits", *LIGHT, "--out",
                   tmp_path / "run")  # fmt: skip
    assert ended.code == 0, ended.err
    answers: list[Tensor] = []
    network = build(f"{tmp_path}/net.py:make")
    thread = threading.Thread(target=lambda: answers.append(network(torch.ones(2, 1, 8, 8))))
    thread.start()
    thread.join()
    assert answers[0].shape == (2, 10)


def test_a_missing_module_is_named_as_the_file_names_it(tmp_path: Path) -> None:
    files(tmp_path, net="def get():\n    import nothing_of_the_kind\n")
    with pytest.raises(ConfigurationError, match=r"net\.py, line 2: .*No module named 'nothing_of_the_kind'"):
        call_code(f"{tmp_path}/net.py:get")


def test_a_change_of_a_file_or_of_a_module_beside_it_is_seen(tmp_path: Path) -> None:
    place = f"{files(tmp_path, net='from a import value as get', a='from b import value', b='def value(): return 1')}"
    reference = f"{place}/net.py:get"
    assert call_code(reference) == 1
    executed = code_of(name for name in sys.modules if name.startswith("norsim_own_net_"))
    assert {Path(line.split()[0]) for line in executed} >= {tmp_path / f"{name}.py" for name in ("net", "a", "b")}
    (tmp_path / "b.py").write_text("def value(): return 2")
    assert call_code(reference) == 2
    (tmp_path / "net.py").write_text("def get(): return 3")
    assert call_code(reference) == 3


# A linear classifier whose outputs are put in an order that is no parameter.
ORDERED = """
import torch
from torch import nn
from order import ORDER
class Net(nn.Module):
    def __init__(self, order):
        super().__init__()
        self.order = order
        self.head = nn.Linear(64, 10)
    def forward(self, x):
        return self.head(x.flatten(1))[:, self.order]
def make(): return Net(ORDER)
def plain(): return Net(list(range(10)))
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of the weights of a trained linear classifier of digits."""
    torch.manual_seed(0)
    network, data = nn.Linear(64, 10), load("digits", "train")
    images, labels = torch.from_numpy(data.images).flatten(1) / 16, torch.from_numpy(data.labels)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    path = tmp_path_factory.mktemp("weights") / "w.pt"
    torch.save({f"head.{name}": value for name, value in network.state_dict().items()}, path)
    return path


def test_a_corrected_helper_and_another_function_change_the_result_of_a_repeated_run(
    norsim: Run,
    tmp_path: Path,
    weights: Path,
) -> None:
    def accuracies(function: str, out: str) -> list[float]:
        ended = norsim("eval-network", "--model", f"{tmp_path}/net.py:{function}", "--weights", weights, "--dataset",
                       "digits", *LIGHT, "--out", tmp_path / out)  # fmt: skip
        assert ended.code == 0, ended.err
        return [ended.json[key] for key in ("accuracy_float", "accuracy_quantized", "accuracy")]

    files(tmp_path, net=ORDERED, order="ORDER = list(range(10))[::-1]\n")
    assert max(accuracies("make", "wrong")) < 0.3
    (tmp_path / "order.py").write_text("ORDER = list(range(10))\n")
    assert min(accuracies("make", "right")) > 0.8
    # The folder of the first run still names the file, which makes another network now.
    saved = norsim("eval-network", "--network", tmp_path / "wrong" / "network", "--trust-model", *LIGHT)
    assert saved.code == 2 and "makes another network than the one that was saved" in saved.err


class Turned(nn.Module):
    """A layer followed by something that no state dict holds."""

    def __init__(self, after: Any) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.head, self.after = nn.Linear(16, 4), after

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.after(self.head(x))
        return found


@pytest.mark.parametrize("kind", ["closure", "attribute", "buffer"])
def test_work_is_only_reused_by_a_network_that_answers_alike(tmp_path: Path, kind: str) -> None:
    """Whatever differs: a closure, an attribute, a buffer that is not saved. Runs share nothing of such networks."""

    class Shifted(nn.Module):
        def __init__(self, shift: int) -> None:
            super().__init__()
            self.shift = shift
            self.register_buffer("places", torch.arange(4).roll(shift), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            places = self.get_buffer("places") if kind == "buffer" else torch.arange(4).roll(self.shift)
            return x[:, places]

    images = torch.rand(12, 16, generator=torch.Generator().manual_seed(0))
    found = []
    for shift, run in ((0, "run"), (1, "run"), (0, "run"), (0, "other")):
        after = (lambda x, shift=shift: x.roll(shift, 1)) if kind == "closure" else Shifted(shift)
        store = UnitStore((tmp_path / run, tmp_path / "shared"))
        net = toolkit.deploy(Turned(after), "etox65", calibration=images, set={"calibration.reads": 8})
        found.append(net.evaluate((images, torch.zeros(12, dtype=torch.int64)), store=store).predictions)
    assert np.array_equal(found[1], (found[0] + 1) % 4)
    assert np.array_equal(found[2], found[0]) and np.array_equal(found[3], found[0])
    kept = {name: len(list((tmp_path / name).glob("*/*-samples.parquet"))) for name in ("run", "other")}
    assert kept["run"] == 2 * kept["other"] > 0 and not (tmp_path / "shared").exists()


RANDOM = """
import torch
from pathlib import Path
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("order", torch.randperm(64), persistent=False)
        self.head = nn.Linear(64, 10)
    def forward(self, x):
        return self.head(x.flatten(1)[:, self.order])
def make():
    calls = Path(__file__).with_name("calls")
    calls.write_text((calls.read_text() if calls.exists() else "") + "x")
    net, state = Net(), torch.load(WEIGHTS)
    net.head.weight.data = state["head.weight"][:, net.order]
    net.head.bias.data = state["head.bias"]
    return net
"""


def test_a_network_is_made_once_and_kept(norsim: Run, tmp_path: Path, weights: Path) -> None:
    """Its random buffer belongs to its weights; another one makes them useless."""
    files(tmp_path, net=RANDOM.replace("WEIGHTS", repr(str(weights))))
    ended = norsim("eval-network", "--model", f"{tmp_path}/net.py:make", "--dataset", "digits", *LIGHT, "--out",
                   tmp_path / "run")  # fmt: skip
    assert ended.code == 0, ended.err
    assert min(ended.json[key] for key in ("accuracy_float", "accuracy_quantized", "accuracy")) > 0.8
    assert (tmp_path / "calls").read_text() == "x"
    # In another process the function would return another network.
    (tmp_path / "net.py").write_text((tmp_path / "net.py").read_text() + "\n")
    later = norsim("eval-network", "--network", tmp_path / "run" / "network", "--trust-model", *LIGHT)
    assert later.code == 2 and "seed them, or quantize it again" in later.err


DATA = """
import numpy as np
CALLS = []
class Data:
    classes = list("0123456789")
    def __init__(self, count): self.count = count
    def __len__(self): return self.count
    def __getitem__(self, i):
        return np.random.randint(0, 255, (8, 8)).astype(np.uint8), i % 10
def random_images(split):
    CALLS.append(split)
    return Data(30)
def calls(): return CALLS
"""


def test_a_data_function_is_called_once_for_each_split(tmp_path: Path) -> None:
    files(tmp_path, own=DATA)
    name = f"{tmp_path}/own.py:random_images"
    first, again, other = load(name, "test"), load(name, "test"), load(name, "train")
    assert np.array_equal(first.images, again.images) and not np.array_equal(first.images, other.images)
    assert call_code(f"{tmp_path}/own.py:calls") == ["test", "train"]


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    files(tmp_path, net="def get(): return 1")
    assert call_code(f"{tmp_path}/net.py:get") == 1
    (tmp_path / "net.py").unlink()
    with pytest.raises(DataError, match=r"net\.py cannot be read"):
        call_code(f"{tmp_path}/net.py:get")


@pytest.mark.parametrize(
    "call", ["importlib.import_module('utils')", "__import__('utils')", "load_module('deep.part')"]
)
def test_a_call_that_imports_finds_the_folder_after_the_function_has_returned(tmp_path: Path, call: str) -> None:
    head = "import importlib\nfrom importlib import import_module as load_module\n"
    files(tmp_path, net=f"{head}def get():\n    return lambda: {call}.VALUE\n", utils="VALUE = 1\n")
    files(tmp_path / "deep", part="VALUE = 1\n")
    before = set(sys.modules)
    later = call_code(f"{tmp_path}/net.py:get")
    assert later() == 1 and not {"utils", "deep"} & (set(sys.modules) - before)
    with pytest.raises(ModuleNotFoundError, match="No module named 'utils'"):
        importlib.import_module("utils")


@pytest.mark.parametrize("text", ["def get(): sys.exit(0)", "sys.exit('no')", "def get(): raise SystemExit"])
def test_a_file_that_exits_is_an_error(tmp_path: Path, text: str) -> None:
    files(tmp_path, net=f"import sys\n{text}\n")
    with pytest.raises(ConfigurationError, match=r"net\.py, line 2: SystemExit"):
        call_code(f"{tmp_path}/net.py:get")


@pytest.mark.parametrize(
    ("first", "second"),
    [({"norm_first": True}, {"norm_first": False}), ({"activation": "relu"}, {"activation": "gelu"}),
     ({"nhead": 2}, {"nhead": 4}), ({"activation": nn.functional.silu}, {"activation": nn.functional.mish})],
)  # fmt: skip
def test_settings_that_no_printed_network_shows_are_in_its_key(first: dict[str, Any], second: dict[str, Any]) -> None:
    made = [nn.TransformerEncoderLayer(**({"d_model": 8, "nhead": 2, "dim_feedforward": 8} | one)).eval()
            for one in (first, first, second)]  # fmt: skip
    assert str(made[0]) == str(made[2])
    assert attributes(made[0]) == attributes(made[1]) != attributes(made[2])
    assert not any(has_own_code(one) for one in made)


def test_batches_of_changed_modules_of_torch_are_not_shared() -> None:
    def hooked(network: nn.Module) -> None:
        network.register_forward_hook(lambda layer, given, out: -out)

    def replaced(network: nn.Module) -> None:
        network.forward = lambda x: -x  # type: ignore[method-assign]

    def closure(network: nn.Module) -> None:
        network.anything = lambda x: -x  # type: ignore[assignment]

    assert not has_own_code(nn.Sequential(nn.Linear(2, 2), nn.ReLU())) and not has_own_code(build("resnet20"))
    for change in (hooked, replaced, closure):
        network = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        change(network[1])
        assert has_own_code(network), change.__name__
