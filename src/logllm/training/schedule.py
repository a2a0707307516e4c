"""The learning rate as a function of how much of a stage is done."""

import math

from logllm.config.train import StageSection

_WARM_UP = 0.3
_START = 25.0
_END = 1e4


def learning_rate(section: StageSection, *, done: int, total: int) -> float:
    """The rate after `done` of a stage's `total` micro-batches.

    `tenths`: times 0.7 at every tenth of the stage, as the paper's scripts do. `one-cycle`: cosine from lr / 25 up to
    lr over the first 30 %, cosine down to almost zero after that (Smith and Topin, arXiv:1708.07120).

    >>> stage = StageSection(trains=("projector",), lr=1.0, epochs=1)
    >>> [round(learning_rate(stage, done=done, total=20), 3) for done in (0, 1, 2, 4)]
    [1.0, 1.0, 0.7, 0.49]
    """
    share = done / total
    if section.schedule == "tenths":
        return float(section.lr * 0.7 ** math.floor(10 * done / total))
    if section.schedule == "constant":
        return section.lr
    if share < _WARM_UP:
        return _cosine(section.lr / _START, section.lr, share=share / _WARM_UP)
    return _cosine(section.lr, section.lr / _START / _END, share=(share - _WARM_UP) / (1 - _WARM_UP))


def _cosine(first: float, last: float, *, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2
