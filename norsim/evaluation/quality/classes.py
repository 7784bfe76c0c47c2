"""Scores and integer targets of any number of predictions per image: an image, its pixels, or the tokens of a text."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from norsim.data.inputs.structure import Structure, described, tensors_in
from norsim.errors import ConfigurationError, DataError

# Targets that stand for no class, as in torch's losses and in the masks of segmentation data.
IGNORED = (-100, 255)


def scores_and_targets(outputs: Structure, targets: Structure) -> tuple[Tensor, Tensor]:
    """Return scores `[images, ..., classes]` and integer targets `[images, ...]`.

    The scores are the first tensor of the outputs that has the axes of the targets and one more, for the classes: the
    second as of torch's losses, or the last. Where both fit, as for as many tokens as there are words, it is the last.
    Raises ConfigurationError for other outputs, DataError for targets that are not integers.
    """
    if not isinstance(targets, Tensor) or targets.is_floating_point() or targets.is_complex() or not targets.ndim:
        kind = f"{targets.dtype} {list(targets.shape)}" if isinstance(targets, Tensor) else described(targets)
        raise DataError(f"targets are {kind}; expected integers, the number of a class for each prediction")
    for part in tensors_in(outputs):
        if part.is_floating_point() and part.ndim == targets.ndim + 1:
            if part.shape[:-1] == targets.shape:
                return part, targets
            if part.shape[:1] + part.shape[2:] == targets.shape:
                return part.movedim(1, -1), targets
    raise ConfigurationError(
        f"the network returns {described(outputs)} for targets {list(targets.shape)}; expected scores of classes for "
        "each target, with one more axis, the second or the last"
    )


def counted(targets: Tensor, classes: int) -> Tensor:
    """Return which targets, integers of any shape such as `[images, h, w]`, stand for one of `classes` classes; the
    others are IGNORED ones. Raises DataError for any other target."""
    known = (targets >= 0) & (targets < classes)
    ignored = torch.isin(targets, torch.tensor(IGNORED, dtype=targets.dtype)) if not known.all() else known
    if not (known | ignored).all():
        low, high = int(targets[~(known | ignored)].min()), int(targets[~(known | ignored)].max())
        raise DataError(
            f"targets have values from {low} to {high} that are no class; expected 0 to {classes - 1}, one for each "
            f"score of the network, or {' or '.join(map(str, IGNORED))} where nothing is to be predicted"
        )
    return known


def nats(scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of each image's targets, in nats, summed, and the number of those targets, `[images]`
    each; for scores `[images, ..., classes]` and targets `[images, ...]`."""
    known = counted(targets, scores.shape[-1])
    safe = torch.where(known, targets, 0).long()
    chosen = -functional.log_softmax(scores.double(), -1).gather(-1, safe[..., None])[..., 0]
    kept = torch.where(known, chosen, 0.0)
    return kept.reshape(len(kept), -1).sum(1), known.reshape(len(known), -1).sum(1)


def predictions(outputs: Structure, targets: Structure) -> Tensor | None:
    """Return the class of each prediction, int64 `[images, ...]` as the targets, -1 where these are ignored; None where
    they are no classes."""
    try:
        scores, truth = scores_and_targets(outputs, targets)
    except (ConfigurationError, DataError):
        return None
    known = counted(truth, scores.shape[-1])
    return torch.where(known, scores.argmax(-1), -1)
