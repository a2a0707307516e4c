"""A projector that means something from the first step: a message's words, or its alarm."""

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
"""Kinds into which the training part's messages are sorted, so that some can be held out."""
_FOLDS = 5
"""Regressions until each kind has been held out once."""
_DRAWS = 16
"""How often that is repeated, with different kinds."""

Numbers = npt.NDArray[np.float64]


class Doubts(NamedTuple):
    """Where the decoder might see messages, had the projector been fitted without them."""

    direction: Tensor
    """What the projector reads of a vector, (d_enc,)."""
    steps: Tensor
    """How far each message is moved along it, one row a time, (r, u)."""

    def moved(self, vectors: Tensor, *, time: int) -> Tensor:
        """Vectors as they might be, (u, d_enc)."""
        steps = self.steps[time % len(self.steps), :, None]  # (u, 1)
        return vectors + steps * self.direction


def start_with_words(
    model: LogLLM, messages: Sequence[str], *, vectors: Tensor, tokenizer: Any
) -> None:
    """Fit the projector to what the decoder itself would read in place of each message.

    That is the mean of the input embeddings of the message's tokens, scaled to a token's average
    length. Tokens that few messages have count more (by the logarithm of how few). What the decoder
    knows about words then serves from the first step, even for messages that no session of the
    training part holds.

    Args:
        model: its projector is written over.
        messages: masked, of the training part.
        vectors: theirs, (u, d_enc).
        tokenizer: the decoder's.
    """
    tokenised = tokenizer(list(messages), add_special_tokens=False)["input_ids"]
    ids = [np.unique(tokens) for tokens in tokenised]
    table = model.decoder.model.get_input_embeddings().weight.detach().float()

    # A token's weight is the logarithm of how few messages hold it.
    all_ids = np.concatenate(ids).astype(np.int64)
    holding = np.bincount(all_ids, minlength=len(table))
    rarities = np.log((1 + len(messages)) / (1 + holding))
    rarity = torch.from_numpy(rarities).to(table)  # (v,)
    words = torch.zeros((len(messages), table.shape[1]), device=table.device)
    for row, tokens in enumerate(ids):
        places = torch.from_numpy(tokens.astype(np.int64)).to(table.device)
        weights = rarity[places]
        words[row] = weights @ table[places] / weights.sum().clamp_min(1e-6)
    words *= table.norm(dim=1).mean() / words.norm(dim=1).mean()  # (u, d_dec)

    # Ridge regression from the centred vectors to the centred words: (X'X + r I) W = X'Y.
    x = vectors.double()
    middle = x.mean(0)
    x = x - middle
    squares = x.T @ x
    identity = torch.eye(len(squares), dtype=x.dtype, device=x.device)
    ridge = _RIDGE * squares.diagonal().mean() * identity
    middle_word = words.mean(0)
    wanted = x.T @ (words - middle_word).double()
    weight = torch.linalg.solve(squares + ridge, wanted)  # (d_enc, d_dec)
    with torch.no_grad():
        model.projector.weight.copy_(weight.T)
        model.projector.bias.copy_(middle_word - middle @ weight)


def start_with_alerts(
    model: LogLLM, *, vectors: Tensor, alerts: Labels, rng: np.random.Generator
) -> Doubts:
    """Fit the projector to say of each message, by itself, how much of an alert it is.

    A logistic regression of single messages gives each vector a number; alerts and other messages
    have the same weight in it. The decoder reads the number as a place on the line through the
    embeddings of the two answers. The middle of the other messages is where the word *normal* is.
    What the regression cannot decide is where *anomalous* is, since a new alert lies nearer to the
    other messages than the alerts that were fitted.

    A message that was fitted lies farther out than a new one will. A decoder that saw only such
    places would learn a step somewhere between them, where new messages are. Each message therefore
    also has the places that regressions without its kind would have given it (stacking; Wolpert:
    Stacked Generalization, 1992), and is shown anywhere between those and its own. All messages are
    moved by the same share, since new ones come together.

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

    # Where regressions without its kind put each message, and a random share of the way there.
    without = [_held_out(x / length, alerts, own=own, rng=rng) for _ in range(_DRAWS)]
    others = np.stack(without)  # (r, u)
    steps = rng.random((_DRAWS, 1)) * (others - own)

    # The same regression for vectors that count from nothing, in their own units.
    bias = bias - float(middle @ weight) / length
    weight = weight / length

    # Value 0, the regression's boundary, goes to "anomalous"; the others' mean, below, to "normal".
    ids = torch.tensor(model.prompt.verdict_ids, device=vectors.device)
    normal, anomalous = model.decoder.embed(ids).detach().float()
    line = anomalous - normal
    usual = min(float(own[~alerts].mean()), -_LEAST)
    reads = torch.from_numpy(weight / -usual).to(normal)
    with torch.no_grad():
        model.projector.weight.copy_(torch.outer(line, reads))
        model.projector.bias.copy_(anomalous + line * (bias / -usual))

    # A step along this direction changes the value by just as much.
    direction = weight / max(float(weight @ weight), _LEAST)
    return Doubts(torch.from_numpy(direction).to(vectors), torch.from_numpy(steps).to(vectors))


def alert_regression(vectors: Numbers, alerts: Labels) -> tuple[Numbers, float]:
    """Weights, (d_enc,), and bias of a logistic regression that tells alerts from other messages.

    Its values are below 0 for messages that are no alerts. Alerts and other messages have the same
    weight. Vectors count from their middle in units of their length, so that the penalty is equally
    strong for every encoder. The values of the fitted messages have a deviation of 1.
    """
    x, middle, length = _from_middle(vectors)
    weight, bias = _regression(x / length, alerts)
    return weight / length, bias - float(middle @ weight) / length


def _from_middle(vectors: Numbers) -> tuple[Numbers, Numbers, float]:
    """Vectors from their middle, the middle, and how long they are (root of the mean square)."""
    middle = vectors.mean(0)
    x = vectors - middle
    mean_square = np.square(x).sum(1).mean()
    return x, middle, float(np.sqrt(mean_square)) or 1.0


def _regression(x: Numbers, alerts: Labels) -> tuple[Numbers, float]:
    """`alert_regression` of vectors that count from their middle in units of their length."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(class_weight="balanced", max_iter=2000).fit(x, alerts)
    deviation = float(fitted.decision_function(x).std()) or 1.0
    return fitted.coef_[0] / deviation, float(fitted.intercept_[0]) / deviation


def _held_out(x: Numbers, alerts: Labels, *, own: Numbers, rng: np.random.Generator) -> Numbers:
    """Each message's value by a regression that has seen none of its kind, (u,).

    A message keeps its own value where the messages of other kinds are all alerts, or none is.
    """
    from sklearn.cluster import KMeans

    different = np.unique(x.round(6), axis=0)
    kinds = min(_KINDS, len(different) // 2)
    values = own.copy()
    if kinds < 2:
        return values

    # Kinds are clusters of vectors, and each fold holds some whole kinds.
    seed = int(rng.integers(2**31))
    kind = KMeans(kinds, n_init=1, random_state=seed).fit_predict(x)
    fold = (rng.permutation(kinds) % _FOLDS)[kind]
    for number in np.unique(fold):
        others = fold != number
        if others.any() and alerts[others].any() and not alerts[others].all():
            weight, bias = _regression(x[others], alerts[others])
            values[~others] = x[~others] @ weight + bias
    return values
