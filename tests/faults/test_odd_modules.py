"""Modules that are no plain torch modules: unwrapped, or refused by name before any folder is written."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError
from norsim.quantization.modules import quantized_operands
from norsim.quantization.quantize import quantize
from norsim.saved.post_training import DataPlace, quantized_folder
from norsim.tiling.convert import convert
from norsim.tiling.modules import digital
from tests.commands.conftest import Run, norsim
from tests.faults.networks import SMALL, Two, check_same_answers, rows

assert norsim


class Compiled(nn.Module):
    """What torch.compile returns, without its import, which takes seconds."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self._orig_mod = inner

    def forward(self, *inputs: Any) -> Any:
        raise AssertionError("the compiled code was called")


Compiled.__module__ = "torch._dynamo.eval_frame"


class Outer(nn.Module):
    def __init__(self, wrap: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__()
        self.body, self.head = wrap(Two()), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.body(x))


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "compiled": Compiled, "parallel": nn.DataParallel, "both": lambda inner: Compiled(nn.DataParallel(inner)),
    "traced by fx": fx.symbolic_trace,
}  # fmt: skip


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers_are_removed(wrapper: str) -> None:
    wrap = WRAPPERS[wrapper]
    for given, plain in ((wrap(Two()), Two()), (Outer(wrap), Outer(lambda inner: inner))):
        found, expected = (quantize(net, [rows()]) for net in (given, plain))
        assert list(quantized_operands(found)) == list(quantized_operands(expected))
        analog = convert(found, load_chip("etox65", SMALL))
        with torch.no_grad(), digital(analog):
            assert torch.equal(found(rows()), expected(rows()))
            torch.testing.assert_close(analog(rows()), expected(rows()), rtol=1e-4, atol=1e-5)


def test_hooks_of_a_wrapper_act() -> None:
    wrapper = nn.DataParallel(Two())
    wrapper.register_forward_hook(lambda layer, given, out: -out)
    assert torch.equal(quantize(wrapper, [rows()])(rows()), -quantize(Two(), [rows()])(rows()))


@pytest.mark.slow
def test_a_network_compiled_by_torch_is_the_plain_one() -> None:
    """As a module, and in a function that its forward calls; the compiler meets no layer on tiles."""
    compiled = torch.compile(Two(), backend="eager")
    assert list(quantized_operands(quantize(compiled, [rows()]))) == ["a", "b"]  # type: ignore[arg-type]
    check_same_answers(Two(torch.compile(lambda net, x: net.b(torch.relu(net.a(x))), backend="eager")), rows())


class NoLayer(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return x.flatten(1)[:, :4]


class TwoInputs(Two):
    def forward(self, x: Tensor, y: Tensor) -> Any:  # type: ignore[override]
        return self.b(self.a(x)) + y


def traced(net: nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(net, rows())


def scripted(net: nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(net)


def exported() -> nn.Module:
    found: nn.Module = torch.export.export(nn.Sequential(nn.Linear(8, 4)), (rows(),)).module()
    return found


def with_attribute(value: Any) -> nn.Module:
    net: Any = Two()
    net.kept = value
    return net  # type: ignore[no-any-return]


def with_weight(change: Callable[[Tensor], Tensor]) -> nn.Module:
    net = Two()
    net.a.weight = nn.Parameter(change(net.a.weight.detach()))
    return net


ODD: dict[str, tuple[Callable[[], Any], str]] = {
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(4)), r"module '0' \(LazyLinear\) has no weights yet; call the net"),
    "lazy norm": (lambda: nn.Sequential(nn.Linear(8, 4), nn.LazyBatchNorm1d()), r"module '1' \(LazyBatchNorm1d\) has"),
    "scripted": (lambda: scripted(nn.Sequential(nn.Linear(8, 4))), r"the network .* is a module of torch.jit"),
    "traced": (lambda: traced(Two()), r"the network .* is a module of torch.jit.*pass the nn.Module"),
    "a scripted part": (lambda: nn.Sequential(scripted(nn.Sequential(nn.Linear(8, 6))), nn.Linear(6, 4)),
                        r"module '0' .* is a module of torch.jit"),
    "no layer": (NoLayer, r"NoLayer holds no layer that an array can take"),
    "activations": (lambda: nn.Sequential(nn.Flatten(), nn.ReLU()), r"Sequential holds no layer that an array can"),
    "quantized by torch": (lambda: torch.ao.nn.quantized.dynamic.Linear(8, 4), r"the network \(Linear\) is already"),
    "partly quantized": (lambda: nn.Sequential(nn.Linear(8, 8), torch.ao.nn.quantized.dynamic.Linear(8, 4)),
                         r"module '1' \(Linear\) is already quantized by torch; pass the float network"),
    "two inputs": (TwoInputs, r"TwoInputs fails on inputs \[2, 8\].*missing 1 required positional argument: 'y'"),
    "a lock": (lambda: with_attribute(threading.Lock()), r"Two cannot be copied in eval mode: TypeError.*locks"),
    "a generator": (lambda: with_attribute(iter(x for x in "ab")), r"Two cannot be copied in eval mode: TypeError"),
    "not a number": (lambda: with_weight(lambda weight: weight * torch.nan), r"'a' has weights that are not finite"),
    "sparse": (lambda: with_weight(lambda weight: weight.to_sparse()), r"weights of layout torch.sparse_coo"),
    "no module": (lambda: Two().forward, r"the network is a method; expected a torch.nn.Module"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_odd_networks_are_refused_by_name(kind: str) -> None:
    make, problem = ODD[kind]
    with pytest.raises(ConfigurationError, match=problem) as ended:
        quantize(make(), [rows()])
    assert "\n" not in str(ended.value)


@pytest.mark.slow
def test_an_exported_program_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be copied in eval mode|holds no layer that"):
        quantize(exported(), [rows()])


NETS = """
import torch, warnings
from torch import nn

def plain(first=None):
    return nn.Sequential(nn.Flatten(), first or nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))

def lazy(): return plain(nn.LazyLinear(16))

def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(plain())

class Other(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind, self.f, self.spare = kind, nn.Linear(64, 10), nn.Linear(2, 2) if kind == "spare" else None

    def forward(self, x):
        y = self.f(x.flatten(1))
        return {"none": None, "single": y.squeeze(), "digital": x.flatten(1)[:, :10]}.get(self.kind, y)

class Extra(Other):
    def get_extra_state(self): return {"version": 3}
    def set_extra_state(self, state): pass

def extra(): return Extra("")
def none(): return Other("none")
def single(): return Other("single")
def spare(): return Other("spare")
def mixing(): return nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False), plain())
def fixed(): return nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (4, 64)), nn.Linear(64, 10))
"""


@pytest.mark.parametrize(("function", "problem"), [
    ("lazy", r"module '1' (LazyLinear) has no weights yet"), ("scripted", "is a module of torch.jit"),
    ("none", "returns a NoneType for 2 images"), ("spare", "layer 'spare' got no input during calibration"),
    ("single", "returns [10] for one image and [3, 10] for three"),
    ("fixed", "does not accept images [2, 1, 8, 8] of digits"),
    ("extra", "has a dict as '_extra_state' in its state_dict; expected tensors only"),
    ("mixing", "depends on the other images of its batch"),
])  # fmt: skip
def test_a_command_refuses_and_leaves_no_folder(norsim: Run, tmp_path: Path, function: str, problem: str) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    ended = norsim("eval-network", "--model", f"{tmp_path}/nets.py:{function}", "--dataset", "digits", "--images", 4,
                   "--quiet", "--out", tmp_path / "run")  # fmt: skip
    assert ended.code == 2 and problem in ended.err, ended.err
    assert len(ended.err.strip().splitlines()) == 1 and not (tmp_path / "run").exists()


def test_a_function_that_returns_the_same_network_twice(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(NETS + "\nONE = plain()\ndef one(): return ONE\n")
    for place in ("first", "second"):
        quantized_folder(f"{tmp_path}/nets.py:one", None, DataPlace("digits"), tmp_path / place, "norsim")
    stored = [(tmp_path / place / "weights.safetensors").read_bytes() for place in ("first", "second")]
    assert stored[0] == stored[1]


def test_weights_for_a_lazy_network_are_refused_in_the_same_way(norsim: Run, tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "w.pt")
    ended = norsim("eval-network", "--model", f"{tmp_path}/nets.py:lazy", "--weights", tmp_path / "w.pt", "--dataset",
                   "digits", "--out", tmp_path / "run")  # fmt: skip
    assert ended.code == 2 and "module '1' (LazyLinear) has no weights yet" in ended.err, ended.err
