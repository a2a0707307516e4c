"""A projector that begins by saying something.

A message's own words, or how much of an alert it is.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from logllm.metrics import Labels
from logllm.model.logllm import LogLLM

_RIDGE = 0.01
"""Penalty on the projector's weights, as a share of the vectors' own squares."""
_LEAST = 1e-6
"""What is divided by where alerts and other messages have the same vectors."""
_KINDS = 20
"""Into how many kinds of message those of the training part fall, so that some can be held out."""
_FOLDS = 5
"""Regressions until each kind has been held out once."""
_DRAWS = 16
"""Times that is done, with other kinds."""

Numbers = npt.NDArray[np.float64]


class Doubts(NamedTuple):
    """Where the decoder might see messages, had the projector been fitted without them."""

    direction: Tensor
    """What the projector reads of a vector, (d_enc,)."""
    steps: Tensor
    """How far each message is moved along it, one row a time, (r, u)."""

    def moved(self, vectors: Tensor, *, time: int) -> Tensor:
        """Vectors as they might be, (u, d_enc)."""
        return vectors + self.steps[time % len(self.steps), :, None] * self.direction


def start_with_words(
    model: LogLLM, messages: Sequence[str], *, vectors: Tensor, tokenizer: Any
) -> None:
    """Fit the projector to what the decoder itself would read in place of each message.

    That is the mean of its input embeddings of the message's tokens, tokens that few messages have
    counting more (by the logarithm of how few), as long as a token's embedding is on average. What
    the decoder knows of words then serves from the first step, for messages too that no session of
    the training part holds.

    Args:
        model: its projector is written over.
        messages: masked, of the training part.
        vectors: theirs, (u, d_enc).
        tokenizer: the decoder's.
    """
    tokenised = tokenizer(list(messages), add_special_tokens=False)["input_ids"]
    ids = [np.unique(tokens) for tokens in tokenised]
    table = model.decoder.model.get_input_embeddings().weight.detach().float()
    holding = np.bincount(np.concatenate(ids).astype(np.int64), minlength=len(table))
    rarity = torch.from_numpy(np.log((1 + len(messages)) / (1 + holding))).to(table)  # (v,)
    words = torch.zeros((len(messages), table.shape[1]), device=table.device)
    for row, tokens in enumerate(ids):
        places = torch.from_numpy(tokens.astype(np.int64)).to(table.device)
        weights = rarity[places]
        words[row] = weights @ table[places] / weights.sum().clamp_min(1e-6)
    words *= table.norm(dim=1).mean() / words.norm(dim=1).mean()  # (u, d_dec)
    x = vectors.double()
    x, middle = x - x.mean(0), x.mean(0)
    squares = x.T @ x
    ridge = (
        _RIDGE * squares.diagonal().mean() * torch.eye(len(squares), dtype=x.dtype, device=x.device)
    )
    weight = torch.linalg.solve(
        squares + ridge, x.T @ (words - words.mean(0)).double()
    )  # (d_enc, d_dec)
    with torch.no_grad():
        model.projector.weight.copy_(weight.T)
        model.projector.bias.copy_(words.mean(0) - middle @ weight)


def start_with_alerts(
    model: LogLLM, *, vectors: Tensor, alerts: Labels, rng: np.random.Generator
) -> Doubts:
    """Fit the projector to say of each message, by itself, how much of an alert it is.

    A logistic regression of single messages gives each vector a number, alerts and others weighing
    the same in it. The decoder reads it as a place on the line through the embeddings of the two
    answers: the others are in the middle where the word *normal* is, and what the regression cannot
    decide is where *anomalous* is, since a new alert lies nearer to the others than those that were
    fitted.

    A message that was fitted lies farther out than a new one will, and a decoder that saw only such
    places would learn a step somewhere between them, where new messages are. So each message also
    has the places that regressions without its like would have given it (stacking; Wolpert: Stacked
    Generalization, 1992), and is to be seen anywhere between those and its own; all messages as
    far, since new ones come together.

    Args:
        model: its projector is written over.
        vectors: of the training part's messages, (u, d_enc).
        alerts: which of them are alerts, some and not all, (u,).
        rng: decides which kinds are held out together, and how far messages are moved.

    Returns:
        Where else the messages are to be seen in training, as long as the projector stays as it is.
    """
    x, middle, length = _from_middle(vectors.double().cpu().numpy())
    weight, bias = _regression(x / length, alerts)
    own = x @ weight / length + bias
    others = np.stack(
        [_held_out(x / length, alerts, own=own, rng=rng) for _ in range(_DRAWS)]
    )  # (r, u)
    steps = rng.random((_DRAWS, 1)) * (others - own)
    weight, bias = weight / length, bias - float(middle @ weight) / length
    ids = torch.tensor(model.prompt.verdict_ids, device=vectors.device)
    normal, anomalous = model.decoder.embed(ids).detach().float()
    usual = min(float(own[~alerts].mean()), -_LEAST)  # below 0, the regression's boundary
    with torch.no_grad():
        model.projector.weight.copy_(
            torch.outer(anomalous - normal, torch.from_numpy(weight / -usual).to(normal))
        )
        model.projector.bias.copy_(anomalous + (anomalous - normal) * (bias / -usual))
    return Doubts(
        torch.from_numpy(weight / max(float(weight @ weight), _LEAST)).to(vectors),
        torch.from_numpy(steps).to(vectors),
    )


def alert_regression(vectors: Numbers, alerts: Labels) -> tuple[Numbers, float]:
    """Weights, (d_enc,), and bias of a logistic regression of what is an alert.

    Below 0 is what is none.

    Alerts and other messages weigh the same. Vectors count from their middle in units of their
    length, so that the penalty is as strong for any encoder; over what was fitted the values'
    deviation is 1.
    """
    x, middle, length = _from_middle(vectors)
    weight, bias = _regression(x / length, alerts)
    return weight / length, bias - float(middle @ weight) / length


def _from_middle(vectors: Numbers) -> tuple[Numbers, Numbers, float]:
    """Vectors from their middle, the middle, and how long they are (root of the mean square)."""
    middle = vectors.mean(0)
    x = vectors - middle
    return x, middle, float(np.sqrt(np.square(x).sum(1).mean())) or 1.0


def _regression(x: Numbers, alerts: Labels) -> tuple[Numbers, float]:
    """As `alert_regression`, of vectors that count from their middle in units of their length."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(class_weight="balanced", max_iter=2000).fit(x, alerts)
    deviation = float(fitted.decision_function(x).std()) or 1.0
    return fitted.coef_[0] / deviation, float(fitted.intercept_[0]) / deviation


def _held_out(x: Numbers, alerts: Labels, *, own: Numbers, rng: np.random.Generator) -> Numbers:
    """Each message's value by a regression that has seen none of its kind.

    Its own where the others are all alerts, or none is.
    """
    from sklearn.cluster import KMeans

    kinds = min(_KINDS, len(np.unique(x.round(6), axis=0)) // 2)
    values = own.copy()
    if kinds < 2:
        return values
    kind = KMeans(kinds, n_init=1, random_state=int(rng.integers(2**31))).fit_predict(x)
    fold = (rng.permutation(kinds) % _FOLDS)[kind]
    for number in np.unique(fold):
        others = fold != number
        if others.any() and alerts[others].any() and not alerts[others].all():
            weight, bias = _regression(x[others], alerts[others])
            values[~others] = x[~others] @ weight + bias
    return values
