"""How long, and with which stages, a cell trains."""

from collections.abc import Sequence
from typing import Any

from logllm.config.recipe import Recipe
from logllm.config.train import StageSection


def changed(recipe: Recipe, **train: Any) -> Recipe:
    """A recipe with other settings of `train`."""
    settings = recipe.model_dump(mode="json", exclude_none=True)
    train_settings = {**settings["train"], **train}
    return Recipe.read({**settings, "train": train_settings}, source=f"recipe {recipe.name}")


def stage_of(stage: StageSection) -> int:
    """Which of the paper's three stages a stage is.

    1 trains the decoder alone, 2 does not train it, 3 trains it together with others.

    >>> stage_of(StageSection(trains=("projector",), lr=1e-4, epochs=1))
    2
    """
    if "decoder" not in stage.trains:
        return 2
    if stage.trains == ("decoder",):
        return 1
    return 3


def scaled(recipe: Recipe, sessions: int, *, available: int) -> Recipe:
    """A recipe that trains on about so many sessions in all, its stages in proportion.

    Each stage has a whole number of batches, and at least one.

    Args:
        recipe: whose stages.
        sessions: of all stages together.
        available: sessions of the train part, for stages that count in epochs.
    """
    train = recipe.train
    # How many sessions each stage trains on now: its own number, or its epochs of all there are.
    lengths: list[int] = []
    for stage in train.stages:
        epoch = max(available, stage.min_epoch_sessions)
        lengths.append(stage.max_sessions or (stage.epochs or 1) * epoch)
    total = max(sessions // train.batch, len(lengths))
    batches = _shares(lengths, total)

    stages: list[dict[str, Any]] = []
    for stage, count in zip(train.stages, batches, strict=True):
        settings = stage.model_dump(mode="json", exclude={"epochs", "max_sessions"})
        stages.append({**settings, "max_sessions": count * train.batch})
    return changed(recipe, stages=stages)


def _shares(lengths: Sequence[int], total: int) -> list[int]:
    """Whole numbers in proportion that add up to a total, each at least 1.

    What rounding down leaves over goes to those with the largest remainders.

    >>> _shares([160, 320, 5600], 150), _shares([1, 1, 1000], 4), _shares([16, 16, 16], 5)
    ([4, 8, 138], [1, 1, 2], [2, 2, 1])
    """
    exact = [length * total / sum(lengths) for length in lengths]
    shares = [max(1, int(share)) for share in exact]
    # "At least 1" may have made the sum too large: the largest pay for it.
    while sum(shares) > total:
        shares[shares.index(max(shares))] -= 1
    by_remainder = sorted(range(len(exact)), key=lambda at: int(exact[at]) - exact[at])
    missing = total - sum(shares)
    for at in by_remainder[:missing]:
        shares[at] += 1
    return shares
