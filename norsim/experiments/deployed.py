"""A network on the tiles of a chip, ready to be called, evaluated, changed and saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from norsim.backends.backend import Backend
from norsim.backends.registry import backend_named
from norsim.chip.model import Chip
from norsim.data.batches import Data, first_inputs
from norsim.errors import ConfigurationError, suggestion
from norsim.evaluation.attribution import MARGIN_POINTS, ORDERS, Attribution
from norsim.evaluation.evaluate import Evaluation, evaluate
from norsim.evaluation.metrics import Metric
from norsim.evaluation.proof.defaults import SPICE_SAMPLE
from norsim.evaluation.quality.choice import metric_of
from norsim.evaluation.trials import check_count
from norsim.experiments.attribution import attribute_losses
from norsim.experiments.deployed_folder import save_folder
from norsim.experiments.deployment import Deployment, KeptInputs
from norsim.experiments.factors import By
from norsim.experiments.sweep import Sweep, evaluate_deployment, sweep_chip
from norsim.folders.output import OutputFolder
from norsim.jobs.phases import Report, silent
from norsim.jobs.workers import HERE, Workers
from norsim.quantization.forward import uncompiled
from norsim.tiling.digital import digital_modules
from norsim.tiling.modules import TiledLayer, tiled_layers
from norsim.tiling.modules import digital as digitally
from norsim.tiling.read_noise import ReadNoise
from norsim.tiling.reader import Reader
from norsim.training.checkpoint import checkpoint_folder
from norsim.training.finetune import fine_tune
from norsim.training.tuning import Tuning


@dataclass(eq=False)
class Parts:
    """The networks behind a DeployedNetwork. They are not among its modules, whose names are those of the original."""

    deployment: Deployment
    analog: nn.Module


class DeployedNetwork(nn.Module):
    """A network on the tiles of a chip: calling it reads the array. `norsim.deploy` returns one.

    Modules have the same names as in the original network; `state_dict` holds the digital parameters and the
    calibration. The network is for inference: there are no gradients, and `train()` raises an error; see `finetune`.

    `backend`    the name of the backend that reads the array; can be set to another backend at any time
    `chip`       the chip
    `tiled`      its layers on the array, by name
    `digital`    name and kind of each module that stays digital
    """

    def __init__(self, deployment: Deployment, analog: nn.Module, backend: str = "macro") -> None:
        super().__init__()
        self._backend = backend_named(backend)
        self._adopt(Parts(deployment, analog))

    def _adopt(self, parts: Parts) -> None:
        self.parts = parts
        # The modules are those of the converted network, so names, devices and state_dict agree.
        self._modules = parts.analog._modules
        self._parameters = parts.analog._parameters
        self._buffers = parts.analog._buffers
        self.training = False
        self._read_by(self._backend)

    def _read_by(self, backend: Backend) -> None:
        """Read the array with `backend` from now on, in calls of the network and of its layers."""
        self._backend = backend
        for layer in self.tiled.values():
            # Noise is drawn again in each call; the first call draws that of the first batch of an evaluation.
            layer.use(Reader(backend, noise=ReadNoise(self.parts.deployment.seed)))

    @property
    def chip(self) -> Chip:
        """The chip."""
        return self.parts.deployment.choice.chip

    @property
    def tiled(self) -> dict[str, TiledLayer]:
        """The layers that are on the array or could be, by name, including digital ones."""
        return tiled_layers(self.parts.analog)

    @property
    def digital(self) -> dict[str, str]:
        """Name and kind of every module that stays digital."""
        return digital_modules(self.parts.analog)

    @property
    def backend(self) -> str:
        """The name of the backend that reads the array."""
        return self._backend.name

    @backend.setter
    def backend(self, name: str) -> None:
        """Read the array with the backend `name`; ConfigurationError if it is unknown or cannot read the encoding."""
        wanted = backend_named(name)
        for layer in self.tiled.values():
            if not layer.stays_digital:
                layer.grid.check(layer.backend_with(wanted))
        self._read_by(wanted)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Return the outputs of the network for inputs `[images, ...]`, with its layers read from the array."""
        with torch.no_grad(), uncompiled():
            return self.parts.analog(*inputs, **named)

    def quantized(self, *inputs: Any, **named: Any) -> Any:
        """Return the outputs of the integer network for inputs `[images, ...]`; no array is read."""
        with torch.no_grad(), uncompiled(), digitally(self.parts.analog):
            return self.parts.analog(*inputs, **named)

    def original(self, *inputs: Any, **named: Any) -> Any:
        """Return the outputs of the float network for inputs `[images, ...]`. Raises ConfigurationError without one."""
        network = self.parts.deployment.original
        if network is None:
            raise ConfigurationError(
                "the float network is unknown, because only quantized weights were deployed; deploy the float network"
            )
        with torch.no_grad(), uncompiled():
            return network(*inputs, **named)

    def train(self, mode: bool = True) -> DeployedNetwork:
        """Raise ConfigurationError for training mode, in which batch norms and dropout would change the results."""
        if mode:
            raise ConfigurationError(
                "a deployed network has no training mode, because its cells are programmed; use "
                "net.finetune(train_data), which trains it through the circuit"
            )
        super().train(False)
        return self

    def calibrate(
        self, data: Data | None = None, *, workers: Workers = HERE, report: Report = silent, store: Any = None
    ) -> DeployedNetwork:
        """Program the tiles and fit the converters again, to `data` if it is given; return the network.

        `data` is any kind of data that `norsim.deploy` accepts; its first inputs, up to the chip's
        `calibration.images`, are used. `report(what, done, total)` reports progress. The backend `ideal` is an error.
        """
        self._check_reads()
        if data is not None:
            inputs = KeptInputs(first_inputs(data, self.chip.calibration.images))
            self.parts.deployment = replace(self.parts.deployment, inputs=inputs)
        self.parts.deployment.fit(self.parts.analog, self.backend, workers=workers, report=report, store=store)
        self._read_by(self._backend)
        return self

    def evaluate(
        self, data: Data, metric: Metric | str | None = None, *, trials: int = 1, spice_sample: int = SPICE_SAMPLE,
        proof_images: int | None = None, proof_seconds: float | None = None, workers: Workers = HERE,
        report: Report = silent, store: Any = None, float_predictions: Any = None,
    ) -> Evaluation:  # fmt: skip
        """Return the accuracy on the array, of the integers and of the float network, with its proof.

        `data` is a DataLoader, a torch Dataset, a pair (inputs, targets) of tensors, a norsim data set or an iterable
        of batches. `metric` judges the outputs instead of the share of correct classes: `top5`, `cross-entropy`,
        `perplexity`, `prediction-accuracy`, `miou`, `mae`, `rmse`, or a function of (outputs, targets) of all images;
        outputs can be tensors, tuples or dicts. `trials` chips of the design are evaluated, this one first.
        `spice_sample` reads, drawn from all reads, and one of every pass of every layer are solved again by ngspice; 0
        for none. The next rung above the backend answers for the first `proof_images` images again, 0 for none: by
        default 30, and up to 1000 of small networks. `proof_seconds` limits each of the two. `float_predictions`
        `[images]` are the float network's classes, if that network is unknown.
        """
        deployment = self.parts.deployment
        judged_by = metric_of(metric)
        check_count(trials, judged_by)
        if trials > 1:
            return evaluate_deployment(
                deployment, data, trials, self.backend, spice_sample=spice_sample, proof_images=proof_images,
                proof_seconds=proof_seconds, workers=workers, report=report, store=store,
                float_predictions=float_predictions,
            )  # fmt: skip
        return evaluate(
            self.parts.analog, data, self.backend, metric=judged_by, spice_sample=spice_sample,
            proof_images=proof_images, proof_seconds=proof_seconds, seed=deployment.seed, workers=workers,
            report=report, network=deployment.name, original=deployment.original, store=store,
            float_predictions=float_predictions,
            calibration=deployment.inputs.images if isinstance(deployment.inputs, KeptInputs) else None,
        )  # fmt: skip

    def attribute(
        self, data: Data, by: By = "causes", *, margin: float = MARGIN_POINTS, orders: int = ORDERS,
        workers: Workers = HERE, report: Report = silent, store: Any = None, float_predictions: Any = None,
    ) -> Attribution:  # fmt: skip
        """Return the accuracy lost to each cause, mitigation (`by="cures"`) or layer (`by="layers"`) on labelled
        data: alone, added to all others, and as Shapley values.

        `margin` is the largest remainder, in percentage points, that counts as adding up. The Shapley values of more
        than 5 layers are the mean over `orders` random orders.
        """
        self._check_reads()
        return attribute_losses(
            self.parts.deployment, data, by, self.backend, margin=margin, orders=orders,
            float_predictions=float_predictions, workers=workers, report=report, store=store,
        )  # fmt: skip

    def sweep(
        self, data: Data, vary: Mapping[str, Sequence[Any]], trials: int = 1, *, spice_sample: int = 4,
        workers: Workers = HERE, report: Report = silent, store: Any = None, float_predictions: Any = None,
        done: Callable[[Any], None] = lambda point: None,
    ) -> Sweep:  # fmt: skip
        """Return the accuracy of `trials` chips at each combination of values of the chip keys in `vary`.

        The network does not change. In a sweep over `silicon.time` or `silicon.reads`, converters are fitted just
        after programming unless `calibration.fresh` says otherwise. At each point, `spice_sample` reads are solved by
        ngspice, and a few of every tile by the next rung above the backend. `done(point)` is called after each point.
        """
        return sweep_chip(
            self.parts.deployment, data, vary, trials, self.backend, spice_sample=spice_sample, workers=workers,
            report=report, store=store, float_predictions=float_predictions, done=done,
        )  # fmt: skip

    def finetune(
        self, data: Data, *, folder: Path | str | OutputFolder | None = None, resume: bool = False,
        overwrite: bool = False, progress: Callable[[int, int, float], None] | None = None, report: Report = silent,
        **tuning: Any,
    ) -> DeployedNetwork:  # fmt: skip
        """Train the quantized weights further, through the circuit, on labelled data; return the network, changed.

        `tuning` are fields of norsim.training.tuning.Tuning: `steps`, `refresh`, `batch_size`, `rate`, `distillation`,
        `temperature`, `augmentation`, `seed`. `folder`, a new or empty one, keeps checkpoints, from which `resume`
        continues; `overwrite` replaces those of an earlier call. A calibrated network is programmed and calibrated
        again. `progress(steps done, steps, mean loss)` is called after each refresh, `report(what, done, total)` during
        the work. Raises ConfigurationError for a folder with other content, WriteError if it cannot be written.
        """
        known = [field.name for field in fields(Tuning)]
        for name in sorted(tuning.keys() - set(known)):
            raise ConfigurationError(f"no tuning option {name!r}; {suggestion(name, known)}")
        deployment, calibrated = self.parts.deployment, self.calibrated
        wanted = Tuning(**{"seed": deployment.seed, **tuning})
        self._check_reads()
        with checkpoint_folder(folder, resume, overwrite) as place:
            tuned = fine_tune(
                deployment.quantized, deployment.choice.chip, data, wanted, place, resume, progress, deployment.digital,
                report,
            )  # fmt: skip
        changed = replace(deployment, quantized=tuned)
        analog = changed.converted()
        if calibrated:
            changed.fit(analog, self.backend, report=report)
        self._adopt(Parts(changed, analog))
        return self

    def _check_reads(self) -> None:
        """Raise ConfigurationError for a backend without currents to fit converters to."""
        if self._backend.gives_integers:
            raise ConfigurationError(
                f"the backend {self.backend} has no currents to calibrate with; set net.backend = 'macro' first"
            )

    @property
    def calibrated(self) -> bool:
        """Whether all layers on the array are calibrated."""
        return all(layer.grid.calibrated for layer in self.tiled.values() if not layer.stays_digital)

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """Yield the modules of the converted network by name, itself first; a single layer is its own network."""
        yield from self.parts.analog.named_modules(memo, prefix, remove_duplicate)

    # If the network is a single layer, its fit is a state of the network itself, so both use the converted network.
    def _save_to_state_dict(self, *arguments: Any) -> None:
        self.parts.analog._save_to_state_dict(*arguments)

    def _load_from_state_dict(self, *arguments: Any) -> None:
        self.parts.analog._load_from_state_dict(*arguments)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DeployedNetwork:
        """Apply `to` or `cuda` also to the networks behind it. Raises ConfigurationError for a change of type."""
        kind = fn(torch.zeros(1)).dtype
        if kind != torch.float32:
            raise ConfigurationError(f"a deployed network computes in float32, so it cannot be made {kind}")
        # It has the same modules, and drops tables on the device that it leaves, also if it is a single layer.
        self.parts.analog._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for network in (self.parts.deployment.original, self.parts.deployment.quantized):
            if network is not None:
                network._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def extra_repr(self) -> str:
        """Return chip, encoding and backend as text."""
        return f"chip={self.chip.name}, encoding={self.chip.encoding.name}, backend={self.backend}"

    def save(self, folder: Path | str, overwrite: bool = False) -> Path:
        """Save the network, its chip and its calibration in a new or empty folder for `norsim.load_deployed`, or, with
        `overwrite`, in place of one saved before; return the folder. Raises ConfigurationError for other folders,
        WriteError if it cannot be written."""
        return save_folder(Path(folder), self.parts.deployment, self.state_dict(), self.backend, overwrite)
