"""Wrong calls: each ends in an error of norsim's own, whose message says what to do instead, in terms of Python."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import norsim
from tests.api.conftest import Split
from tests.api.networks import InDict, Small


@dataclass(frozen=True)
class Given:
    """What the wrong calls are made with: `model` and `net` are as they should be, and so are `x` and `y`."""

    model: Any
    net: Any
    x: Tensor
    y: Tensor
    folder: Path

    @property
    def quantized(self) -> nn.Module:
        return norsim.quantize(self.model, self.x)

    @property
    def converted(self) -> nn.Module:
        """Not calibrated."""
        return norsim.convert(self.quantized, norsim.load_chip("etox65"))

    def deploy(self, **options: Any) -> Any:
        return norsim.deploy(**{"model": self.model, "chip": "etox65", "calibration": self.x, **options})

    @property
    def scalar(self) -> Any:
        """A network whose outputs are no class scores."""
        return norsim.deploy(nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Flatten(0)), calibration=self.x)


@pytest.fixture
def given(net: norsim.DeployedNetwork, model: nn.Module, test_set: Split, tmp_path: Path) -> Given:
    return Given(model, copy.deepcopy(net), test_set.x[:20], test_set.y[:20], tmp_path)


def broken_metric(outputs: Any, targets: Any) -> float:
    raise KeyError("no such output")


class Failing(nn.Module):
    """A network with a mistake in its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        raise AttributeError("'Failing' object has no attribute 'norm'")


class OneAnswer(nn.Module):
    """A network that answers once for all images."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.fc(x.flatten(1)).mean(0, keepdim=True)
        return result


Wrong = tuple[Callable[[Given], Any], str]
ITERABLE = r"expected a DataLoader, a torch Dataset, a pair \(inputs, targets\) of tensors, a norsim data set"
MODELS: Mapping[str, Wrong] = {
    "no network": (lambda g: g.deploy(model="resnet18"), r"network is a str; expected a torch.nn.Module"),
    "a class": (lambda g: g.deploy(model=Small), r"network is a type; expected a torch.nn.Module"),
    "a deployed one": (lambda g: g.deploy(model=g.net), r"already deployed; deploy the original model"),
    "a quantized one": (lambda g: g.deploy(model=g.quantized), r"'conv' is already quantized; pass the float network"),
    "nothing to quantize": (lambda g: g.deploy(model=nn.ReLU()), r"nothing to quantize; expected at least one Conv1d"),
    "weights without values": (lambda g: g.deploy(model=Small().to("meta")), r"'conv' .* is on the device meta"),
    "a mistake in it": (lambda g: g.deploy(model=Failing()),
                        r"Failing fails on inputs \[2, 1, 8, 8\] of torch.float32: "
                        r"AttributeError: 'Failing' object has no attribute 'norm'. Give inputs"),
    "one answer for all": (lambda g: g.deploy(model=OneAnswer()).evaluate((g.x, g.y)),
                           r"scores for 1 images of 20; expected scores \[images, classes\]"),
    "quantize no network": (lambda g: norsim.quantize(3, g.x), r"network is a int; expected a torch.nn.Module"),
    "convert no network": (lambda g: norsim.convert(None, norsim.load_chip("etox65")), r"expected a torch.nn.Module"),
    "convert a float network": (lambda g: norsim.convert(g.model, norsim.load_chip("etox65")),
                                r"no quantized layers: call norsim.quantize\(network, training_data\) first"),
    "calibrate a float network": (lambda g: norsim.calibrate(g.model, g.x), r"norsim.deploy\(network, chip, calibra"),
    "program no network": (lambda g: norsim.program([]), r"network is a list; expected a torch.nn.Module"),
    "evaluate an unconverted network": (lambda g: norsim.evaluate(g.quantized, (g.x, g.y)),
                                        r"no layers on the array: norsim.deploy\(network, chip, calibration=data\)"),
    "evaluate no network": (lambda g: norsim.evaluate("net", (g.x, g.y)), r"expected a torch.nn.Module"),
    "what stays digital of nothing": (lambda g: norsim.digital_modules("net"), r"expected a torch.nn.Module"),
    "call before calibrate": (lambda g: g.converted(g.x), r"no backend reads it yet: call norsim.calibrate\(network, "
                              r"training_data\) first, or use norsim.deploy"),
    "call after program": (lambda g: programmed(g)(g.x), r"'conv' is not calibrated.*call norsim.calibrate"),
    "evaluate before calibrate": (lambda g: norsim.evaluate(programmed(g), (g.x, g.y)), r"call norsim.calibrate"),
    "train": (lambda g: g.net.train(), r"use net.finetune\(train_data\), which trains it"),
    "original of a loaded network": (lambda g: without_original(g).original(g.x), r"float network is unknown"),
    "half": (lambda g: g.net.half(), r"computes in float32"),
}  # fmt: skip
CHIPS: Mapping[str, Wrong] = {
    "no chip": (lambda g: g.deploy(chip=65), r"chip is 65; expected the name of a preset or a .yaml file"),
    "unknown chip": (lambda g: g.deploy(chip="etox56"), r"did you mean 'etox65'\?.*Give a preset or a .yaml file"),
    "no file": (lambda g: g.deploy(chip=g.folder / "none.yaml"), r"none.yaml cannot be read: it does not exist"),
    "unknown key": (lambda g: g.deploy(set={"adc.bit": 9}), r"no key 'bit'; did you mean 'bits'\?"),
    "bad value": (lambda g: g.deploy(set={"adc.bits": "many"}), r"adc.bits: Input should be a valid integer"),
    "settings of an object": (lambda g: g.deploy(chip=norsim.load_chip("etox65"), set={"adc.bits": 9}),
                              r"give a preset or a file, or pass the settings to norsim.load_chip"),
    "unknown encoding": (lambda g: g.deploy(encoding="parallel"), r"encoding: Input should be .*bit-serial"),
    "a name for a chip": (lambda g: norsim.convert(g.quantized, "etox65"),
                          r"chip is 'etox65'; expected a Chip, for example norsim.load_chip\('etox65'\)"),
    "unknown layer": (lambda g: g.deploy(digital=["head"]), r"'head' matches no module with weights; known: conv"),
    "digital that is no list": (lambda g: g.deploy(digital=True),
                                r'expected names of layers or patterns, such as \["fc"'),
    "digital of layers": (lambda g: g.deploy(digital=[g.model.fc]), r"expected names of layers or patterns"),
    "override of no layer": (lambda g: norsim.convert(g.quantized, norsim.load_chip("etox65"), {"head": {}}),
                             r"no layer 'head' to override; the layers are conv, body.3, fc"),
    "no bits": (lambda g: g.deploy(weight_bits=0), r"0 bits; expected an integer from 1 to 8"),
    "bits that no group holds": (lambda g: g.deploy(weight_bits=8, set={"bit_serial.reference_every": 3}),
                                 r"groups of 3 bitlines .* make reference_every a divisor of strap_every"),
    "too wide activations": (lambda g: g.deploy(activation_bits=9), r"9 bits; expected an integer from 1 to 8"),
    "no seed": (lambda g: g.deploy(seed="first"), r"seed is 'first'; expected an integer of at least 0"),
    "negative seed": (lambda g: g.deploy(seed=-1), r"seed is -1; expected an integer of at least 0"),
    "unknown backend": (lambda g: g.deploy(backend="hspice"), r"no backend 'hspice'; choose one of ideal, ngspice"),
    "no backend": (lambda g: g.deploy(backend=None), r"no backend None; choose one of ideal, ngspice"),
    "set an unknown backend": (lambda g: setattr(g.net, "backend", ["macro"]), r"no backend \['macro'\]; choose one"),
    "read by integers": (lambda g: norsim.read(one_cell(), one_read(), "ideal"),
                         r"has no currents; choose another one"),
    "volts of another tile": (lambda g: norsim.read(one_cell(), norsim.Stimulus([[5.0, 5.0]], [[0.5]])),
                              r"volts for 2 wordlines and 1 bitlines do not match a tile of 1 x 1"),
    "a folder of nothing": (lambda g: norsim.load_deployed(g.folder), r"net.save\(folder\) writes one"),
    "a folder of another format": (lambda g: norsim.load_deployed(older(g)),
                                   r"has format 0, .*this version reads format 1"),
    "a broken folder": (lambda g: norsim.load_deployed(cut(g)), r"network.pt cannot be read .*classes must be import"),
    "a local class": (lambda g: local(g).save(g.folder), r"classes must be defined in a module, not in a function"),
    "a folder that is a file": (lambda g: g.net.save(file_in(g)), r"cannot be written: (File exists|Not a directory)"),
}  # fmt: skip
DATA: Mapping[str, Wrong] = {
    "no calibration data": (lambda g: g.deploy(calibration=None), "data is a NoneType; " + ITERABLE),
    "a path": (lambda g: g.net.evaluate("test/"), "data is a str; " + ITERABLE),
    "a dict": (lambda g: g.net.evaluate({"x": g.x, "y": g.y}), "data is a dict; " + ITERABLE),
    "empty calibration": (lambda g: g.deploy(calibration=[]), r"calibration is empty; pass at least one batch"),
    "calibrate by nothing": (lambda g: norsim.calibrate(g.converted, iter(())),
                             r"empty: give at least one batch of in"),
    "empty test set": (lambda g: g.net.evaluate([]), r"the data is empty: give at least one batch"),
    "attribute nothing": (lambda g: g.net.attribute([], by="layers"), r"the data is empty: give at least one batch"),
    "learn from nothing": (lambda g: g.net.finetune([]), r"the data is empty: give at least one batch"),
    "no labels": (lambda g: g.net.evaluate(g.x), r"inputs and no targets.*give pairs \(inputs, targets\)"),
    "no labels in batches": (lambda g: g.net.attribute([g.x]),
                             r"inputs and no targets.*give pairs \(inputs, targets\)"),
    "three parts": (lambda g: g.net.evaluate([(g.x, g.y, g.y)]), r"a batch holds 3 parts; expected a tensor of inputs"),
    "batches of dicts": (lambda g: g.net.evaluate([{"x": g.x}]), r"the data has inputs and no targets"),
    "inputs in a list": (lambda g: g.net.evaluate([([[0.5]], g.y)]),
                         r"inputs of type list; expected a tensor \[images"),
    "fewer labels": (lambda g: g.net.evaluate((g.x, g.y[:7])), r"shape \[7\] do not belong together; expected as many"),
    "fewer labels in a batch": (lambda g: g.net.evaluate([(g.x, g.y[:7])]),
                                r"of shape \[7\] for 20 images; an accuracy "
                                "needs one integer label"),
    "one-hot labels": (lambda g: g.net.evaluate((g.x, nn.functional.one_hot(g.y))),
                       r"of shape \[20, 10\] for 20 images; "
                       r".*give evaluate a metric"),
    "real labels": (lambda g: g.net.evaluate((g.x, g.y.float())), r"targets are float32 .*give evaluate a metric"),
    "negative labels": (lambda g: g.net.evaluate((g.x, g.y - 5)), r"one integer label of at least 0 per image"),
    "ragged labels": (lambda g: g.net.evaluate([(g.x, [[1], [2, 3]])]), r"one integer label of at least 0 per image"),
    "labels of words": (lambda g: g.net.finetune([(g.x, ["a"] * 20)]), r"one integer label of at least 0 per image"),
    "labels beyond the scores": (lambda g: g.net.finetune((g.x, g.y + 10)),
                                 r"labels go from .* expected 0 to 9, one for"),
    "real labels to learn": (lambda g: g.net.finetune((g.x, g.y.float())), r"targets are float32 of shape \[20\]"),
    "bytes": (lambda g: g.deploy(calibration=g.x.byte()), r"uint8.*for example images.float\(\) / 255"),
    "bytes in a call": (lambda g: g.net(g.x.byte()), r"torch.uint8; expected real numbers.*images.float\(\) / 255"),
    "colours": (lambda g: g.net(g.x.repeat(1, 3, 1, 1)),
                r"'conv': input of shape .*; expected \[images, 1, height, wid"),
    "larger images": (lambda g: g.net(torch.rand(2, 1, 16, 16)),
                      r"'body.3': input of shape \(2, 256\); expected \[..., 6"),
    "evaluate larger images": (lambda g: g.net.evaluate((torch.rand(2, 1, 16, 16), g.y[:2])),
                               r"Small fails on inputs \[2, 1, 16, 16\] of torch.float32: .*that the float network"),
    "calibrate by colours": (lambda g: g.deploy(calibration=g.x.repeat(1, 3, 1, 1)),
                             r"Small fails on inputs \[2, 3, 8, 8\]"),
    "no numbers": (lambda g: g.deploy(calibration=g.x * torch.nan),
                   r"'conv' has a calibration input that is not finite"),
    "a single number": (lambda g: g.deploy(calibration=[torch.tensor(1.0)]), r"expected a tensor \[images, ...\]"),
    "sweep by a generator": (lambda g: g.net.sweep(iter([(g.x, g.y)]), {"adc.bits": [5]}),
                             r"data is a list_iterator, which ends after one pass, .*; give a DataLoader"),
    "attribute by a generator": (lambda g: g.net.attribute(pair for pair in [(g.x, g.y)]),
                                 r"generator, which ends after"),
    "chips by a generator": (lambda g: g.net.evaluate(iter([(g.x, g.y)]), trials=2),
                             r"ends after one pass, and several"),
    "unknown data set": (lambda g: norsim.load_data("digit", "test"), r"did you mean 'digits'"),
    "unknown split": (lambda g: norsim.load_data("digits", "validation"),
                      r"no split 'validation', expected one of train"),
}  # fmt: skip
QUESTIONS: Mapping[str, Wrong] = {
    "a metric that fails": (lambda g: g.net.evaluate((g.x, g.y), broken_metric),
                            r"the metric broken_metric failed on outputs "
                            r"of a tensor \[20, 10\] .*KeyError: 'no such output'. Expected a function that"),
    "a metric of many numbers": (lambda g: g.net.evaluate((g.x, g.y), lambda out, _: out),
                                 r"Expected a function that ret"),
    "the name of a metric": (lambda g: g.net.evaluate((g.x, g.y), "mse"), r"no metric 'mse'; did you mean 'rmse'"),
    "a metric of several chips": (lambda g: g.net.evaluate((g.x, g.y), broken_metric, trials=2), r"omit metric"),
    "no class scores": (lambda g: g.scalar.evaluate((g.x, g.y)), r"returns a tensor \[80\]; an accuracy needs scores "
                        r"\[images, classes\]. .*give evaluate a metric, a function of \(outputs, targets\)"),
    "attribute without class scores": (lambda g: g.scalar.attribute((g.x, g.y), by="layers"),
                                       r"give evaluate a metric"),
    "sweep without class scores": (lambda g: g.scalar.sweep((g.x, g.y), {"adc.bits": [5]}), r"give evaluate a metric"),
    "learn without class scores": (lambda g: g.scalar.finetune((g.x, g.y)), r"an accuracy needs scores"),
    "outputs of other kinds": (lambda g: in_set(g).evaluate((g.x, g.y), broken_metric),
                               r"returns a set; expected tensors"),
    "outputs of other shapes": (lambda g: g.scalar.evaluate([(g.x, g.y), (g.x[:1], {"a": 1})], broken_metric),
                                r"first batch is a tensor \[20\] and the last a dict .*; expected outputs and tar"),
    "no chips": (lambda g: g.net.evaluate((g.x, g.y), trials=0),
                 r"trials is 0; expected at least 1 chip"),
    "chips in words": (lambda g: g.net.sweep((g.x, g.y), {"adc.bits": [5]}, trials="3"),
                       r"trials is '3'; expected at least 1"),
    "a negative sample": (lambda g: g.net.evaluate((g.x, g.y), spice_sample=-1),
                          r"spice_sample is -1; expected a number"),
    "float predictions of others": (lambda g: norsim.evaluate(g.net, (g.x, g.y), float_predictions=g.y.numpy()[:3]),
                                    r"3 float predictions for 20 images; expected one per image"),
    "unknown causes": (lambda g: g.net.attribute((g.x, g.y), by="cause"),
                       r"by is 'cause'; expected one of causes, cures, layers"),
    "causes of an object": (lambda g: g.deploy(chip=norsim.load_chip("etox65")).attribute((g.x, g.y)),
                            r"given as an object, so its keys cannot be changed; give a preset or a chip file"),
    "attribute integers": (lambda g: with_integers(g).attribute((g.x, g.y)), r"set net.backend = 'macro' first"),
    "learn by integers": (lambda g: with_integers(g).finetune((g.x, g.y)), r"set net.backend = 'macro' first"),
    "sweep nothing": (lambda g: g.net.sweep((g.x, g.y), {}),
                      r'give keys with values, for example \{"adc.bits": \[5, 6, 8\]'),
    "sweep a list": (lambda g: g.net.sweep((g.x, g.y), [5, 6]), r"give keys with values, for example"),
    "sweep a number": (lambda g: g.net.sweep((g.x, g.y), {"adc.bits": 5}),
                       r"adc.bits: expected a list of values, not 5"),
    "sweep no value": (lambda g: g.net.sweep((g.x, g.y), {"adc.bits": []}), r"adc.bits: expected a list of values"),
    "sweep twice the same": (lambda g: g.net.sweep((g.x, g.y), {"adc.bits": [5, 5]}),
                             r"a value occurs twice in 5, 5; give each value once"),
    "sweep an unknown key": (lambda g: g.net.sweep((g.x, g.y), {"adc.bit": [5]}), r"did you mean 'bits'\?"),
    "unknown tuning": (lambda g: g.net.finetune((g.x, g.y), step=5),
                       r"no tuning option 'step'; did you mean 'steps'\?"),
    "no steps": (lambda g: g.net.finetune((g.x, g.y), steps=0), r"steps is 0; expected an integer of at least 1"),
    "a rate in words": (lambda g: g.net.finetune((g.x, g.y), rate="high"),
                        r"rate is 'high'; expected a number above 0"),
    "too much distillation": (lambda g: g.net.finetune((g.x, g.y), distillation=2),
                              r"distillation is 2; expected 0 to 1"),
    "unknown augmentation": (lambda g: g.net.finetune((g.x, g.y), augmentation="mix"),
                             r"expected one of none, shift, crop"),
    "augmented tensors": (lambda g: g.net.finetune((g.x, g.y), augmentation="shift"), r"needs a norsim data set"),
    "report a sweep": (lambda g: norsim.write_report({"accuracy": 1}, g.folder), r"about an Evaluation, .*not a dict"),
    "report tensors": (lambda g: norsim.write_report(g.net.evaluate((g.x, g.y), spice_sample=0), g.folder, g.x),
                       r"images are a Tensor; expected a norsim data set, as norsim.load_data returns it"),
    "report other images": (lambda g: norsim.write_report(g.net.evaluate((g.x, g.y), spice_sample=0), g.folder,
                                                          norsim.load_data("digits", "test")), r"do not match"),
    "a report in a file": (lambda g: norsim.write_report(g.net.evaluate((g.x, g.y), spice_sample=0), file_in(g)),
                           r"cannot be written: Not a directory"),
}  # fmt: skip
ALL = {f"{name}": wrong for part in (MODELS, CHIPS, DATA, QUESTIONS) for name, wrong in part.items()}


def programmed(given: Given) -> nn.Module:
    analog = given.converted
    norsim.program(analog)
    return analog


def without_original(given: Given) -> Any:
    from dataclasses import replace

    given.net.parts.deployment = replace(given.net.parts.deployment, original=None)
    return given.net


def with_integers(given: Given) -> Any:
    given.net.backend = "ideal"
    return given.net


def in_set(given: Given) -> Any:
    class InSet(Small):
        def forward(self, x: Tensor) -> Any:
            return {super().forward(x)}

    return given.deploy(model=InSet())


def local(given: Given) -> Any:
    class Local(InDict):
        pass

    return given.deploy(model=Local())


def file_in(given: Given) -> Path:
    path = given.folder / "file"
    path.touch()
    return path


def older(given: Given) -> Path:
    path = given.net.save(given.folder) / "network.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 0'))
    return given.folder


def cut(given: Given) -> Path:
    path = given.net.save(given.folder) / "network.pt"
    path.write_bytes(path.read_bytes()[:1000])
    return given.folder


def one_cell() -> norsim.Tile:
    chip = norsim.load_chip("etox65")
    return norsim.Tile([[4.0]], chip.cell, chip.wires)


def one_read() -> norsim.Stimulus:
    return norsim.Stimulus([[5.0]], [[0.5]])


@pytest.mark.parametrize("name", ALL)
def test_a_wrong_call_ends_in_an_error_of_norsims_own(given: Given, name: str) -> None:
    call, remedy = ALL[name]
    with pytest.raises(norsim.NorsimError) as ended:
        call(given)
    said = str(ended.value)
    assert re.search(remedy, said), said
    assert not re.search(r"(^|\s)--?[a-z]", said), said
    assert "\n" not in said


def test_names_of_the_table_are_unique() -> None:
    assert len(ALL) == sum(map(len, (MODELS, CHIPS, DATA, QUESTIONS)))


def test_a_wrong_call_changes_nothing(net: norsim.DeployedNetwork, test_set: Split) -> None:
    before = net(test_set.x)
    for wrong in ({"steps": 0}, {"no": 1}):
        with pytest.raises(norsim.ConfigurationError):
            net.finetune(test_set.pair, **wrong)
    with pytest.raises(norsim.DataError):
        net.calibrate([])
    assert torch.equal(net(test_set.x), before)
