"""Images of another size, colour, type, range or number than those of training: refused before any long work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import norsim as library
from norsim.data import load
from norsim.errors import ConfigurationError, DataError, NorsimError
from norsim.experiments import deployment
from norsim.quantization.forward import check_single_images
from norsim.saved.post_training import DataPlace, quantized_folder
from norsim.training.recipes import Recipe
from norsim.training.train import train
from norsim.zoo.registry import spec_of
from tests.commands.conftest import Run, linear_digits, norsim
from tests.faults.networks import Two, rows

assert norsim and linear_digits

NETS = """
from torch import nn

def flat(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
def pooled(): return nn.Sequential(nn.Conv2d(1, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
"""


def written(folder: Path, change: Callable[[np.ndarray], np.ndarray], labels: int = 0) -> Path:
    """Digits in a file whose test images are changed, and whose test labels are larger."""
    train, test = load("digits", "train").take(64), load("digits", "test").take(12)
    (folder / "nets.py").write_text(NETS)
    np.savez(folder / "data.npz", train_images=train.images, train_labels=train.labels, full_scale=16,
             test_images=change(test.images), test_labels=test.labels + labels)  # fmt: skip
    return folder / "data.npz"


OTHER: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "smaller": (lambda x: x[:, :, :7, :7], r"does not accept images \[2, 1, 7, 7\] of .*test images"),
    "larger": (lambda x: x.repeat(2, 2).repeat(2, 3), r"does not accept images \[2, 1, 16, 16\] of .*test images"),
    "colour": (lambda x: np.repeat(x, 3, 1), r"does not accept images \[2, 3, 8, 8\] of .*test images"),
    "wider": (lambda x: np.repeat(x, 2, 3), r"does not accept images \[2, 1, 8, 16\] of .*test images"),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHER)
def test_other_test_images_are_refused_at_once(norsim: Run, tmp_path: Path, kind: str) -> None:
    change, problem = OTHER[kind]
    data = written(tmp_path, change)
    ended = norsim("eval-network", "--model", f"{tmp_path}/nets.py:flat", "--dataset", data, "--out", tmp_path / "run")
    assert ended.code == 2 and not (tmp_path / "run").exists()
    with pytest.raises(ConfigurationError, match=problem):
        quantized_folder(f"{tmp_path}/nets.py:flat", None, DataPlace(str(data)), tmp_path / "network", "norsim")
    assert not (tmp_path / "network").exists()


def test_other_sizes_that_a_network_accepts_are_no_problem(tmp_path: Path) -> None:
    data = written(tmp_path, lambda x: x[:, :, :7, :7])
    quantized_folder(f"{tmp_path}/nets.py:pooled", None, DataPlace(str(data)), tmp_path / "network", "norsim")
    assert (tmp_path / "network" / "card.json").exists()


@pytest.mark.parametrize("command", ["eval-network", "attribute", "sweep"])
@pytest.mark.parametrize(("change", "labels", "problem"), [
    (lambda x: x[:, :, 1:], 0, "data.npz, each of shape [1, 7, 8], do not fit the network: layer '1'"),
    (lambda x: x, 3, "labels go up to 12; expected 0 to 9"),
])  # fmt: skip
def test_commands_check_other_data_before_any_work(
    norsim: Run,
    linear_digits: Path,
    tmp_path: Path,
    command: str,
    change: Callable[..., Any],
    labels: int,
    problem: str,
) -> None:  # fmt: skip
    data = written(tmp_path, change, labels)
    more = ("--vary", "adc.bits=6,7") if command == "sweep" else ()
    ended = norsim(command, "--network", linear_digits, "--trust-model", "--dataset", data, "--quiet", *more,
                   "--out", tmp_path / "run")  # fmt: skip
    assert ended.code == 2 and problem in ended.err, ended.err
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def net() -> library.DeployedNetwork:
    return library.deploy(Two(), calibration=rows(), set={"calibration.reads": 8, "calibration.images": 8})


LABELS = torch.arange(12) % 4
WRONG: dict[str, tuple[Callable[[Any], Any], type[NorsimError], str]] = {
    "narrower": (lambda net: net.evaluate((rows()[:, :7], LABELS)), ConfigurationError, r"fails on inputs \[12, 7\]"),
    "with another axis": (lambda net: net.evaluate((rows()[:, None], LABELS)), ConfigurationError,
                          r"returns a tensor \[12, 1, 4\]; an accuracy needs scores"),
    "bytes": (lambda net: net.evaluate(((255 * rows()).byte(), LABELS)), DataError, r"inputs are bytes \(uint8\)"),
    "as large as bytes": (lambda net: net.evaluate((255 * rows(), LABELS)), DataError,
                          r"inputs go up to 254.*, but those of the calibration go up to 0.99.*; scale both"),
    "small": (lambda net: net.evaluate((rows() / 255, LABELS)), DataError, r"scale both in the same way"),
    "integers": (lambda net: net.evaluate(((255 * rows()).long(), LABELS)), ConfigurationError, r"fails on inputs"),
    "not a number": (lambda net: net.evaluate((rows().masked_fill(rows() > 0.99, torch.nan), LABELS)), DataError,
                     r"inputs hold numbers that are not finite"),
    "infinite": (lambda net: net.evaluate([(rows(), LABELS), (rows() / 0, LABELS)]), DataError, r"not finite"),
    "label without a score": (lambda net: net.evaluate((rows(), LABELS + 1)), DataError,
                              r"labels go up to 4; expected 0 to 3"),
    "late label without a score": (lambda net: net.evaluate([(rows(), LABELS), (rows(), LABELS + 9)]), DataError,
                                   r"labels go up to 12; expected 0 to 3"),
    "other calibration": (lambda net: net.calibrate(rows()[:, :5]), ConfigurationError,
                          r"calibration, each of shape \[5\], do not fit the network: layer 'a'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_an_evaluation_refuses(net: library.DeployedNetwork, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also before tiles are programmed."""
    call, error, problem = WRONG[kind]
    monkeypatch.setattr(deployment, "program", lambda *_, **__: pytest.fail("tiles were programmed"))
    with pytest.raises(error, match=problem):
        call(net)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_real_types_are_converted(net: library.DeployedNetwork, dtype: torch.dtype) -> None:
    found = net.evaluate((rows().to(dtype), LABELS), spice_sample=0, proof_images=0)
    assert found.images == 12


@pytest.mark.parametrize(("call", "problem"), [
    (lambda net, x: net.b(net.a(x)).squeeze(), r"returns \[4\] for one image and \[3, 4\] for three"),
    (lambda net, x: net.b(net.a(x.view(4, -1, 8))), r"fails on inputs \[1, 8\]"),
    (lambda net, x: net.b(net.a(x.view(-1, 16)[:, :8])), r"fails on inputs \[1, 8\]"),
    (lambda net, x: (net.b(net.a(x)), *x), r"returns \[1, 4\], \[8\] for one image and \[3, 4\], \[8\], \[8\], \[8\]"),
])  # fmt: skip
def test_networks_of_one_batch_size_are_refused(call: Callable[..., Tensor], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        check_single_images(Two(call), rows())
    with pytest.raises(ConfigurationError, match=r"for one image|fails on inputs"):
        library.quantize(Two(call), rows(8))


@pytest.mark.parametrize("call", [
    lambda net, x: net.b(net.a(x - x.mean(0))), lambda net, x: net.b(net.a(x)).softmax(0),
    lambda net, x: net.b(net.a(x.cumsum(0))),
])  # fmt: skip
def test_an_answer_that_depends_on_the_batch_is_refused(call: Callable[..., Tensor]) -> None:
    with pytest.raises(ConfigurationError, match="depends on the other images of its batch"):
        check_single_images(Two(call), rows(), values=True)
    state = torch.get_rng_state()
    for fine in (
        None,
        lambda net, x: {"scores": net.b(net.a(x)), "norm": net.a.weight.norm(), "names": "abc"},
        lambda net, x: nn.functional.dropout(net.b(net.a(x)), 0.5),
        lambda net, x: net.b(net.a(x)).flatten(),
    ):
        check_single_images(Two(fine), rows(), values=True)
        check_single_images(Two(fine), rows(1), values=True)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("change", "labels", "problem"), [
    (lambda x: x[:, :, :4], 0, "the test images of .* do not fit the network: Sequential fails on inputs"),
    (lambda x: x, 3, "do not fit the network: labels go up to 12"),
])  # fmt: skip
def test_a_training_checks_test_images_first(
    tmp_path: Path, change: Callable[..., Any], labels: int, problem: str
) -> None:  # fmt: skip
    data = written(tmp_path, change, labels)
    splits = [load(str(data), split) for split in ("train", "test")]
    recipe = Recipe(1, 1, 32, 0.1, 0.02)
    with pytest.raises(ConfigurationError, match=problem):
        train(spec_of(f"{tmp_path}/nets.py:flat"), *splits, recipe, tmp_path / "trained")  # type: ignore[arg-type]
    assert not (tmp_path / "trained").exists()
