"""What a threshold is to reach."""

from typing import Self

from pydantic import Field, model_validator

from logllm.config.section import Section


class TargetSection(Section):
    """What the threshold is to reach on the validation part, at most one thing.

    Where none is named, it is the threshold of the best F1.
    """

    # With labels: right and wrong are known.
    precision: float | None = Field(default=None, gt=0, le=1)
    """Share of the alarms that must be true; of all thresholds that reach it the one that misses
    the fewest anomalies is taken."""
    recall: float | None = Field(default=None, gt=0, le=1)
    """Share of the anomalies that must be found; of all thresholds that reach it the one with the
    fewest false alarms is taken."""
    # Without: only how many people can look at.
    alerts_per_day: float | None = Field(default=None, gt=0)
    """Most sessions a day that are called anomalous, rightly or not. Needs times, and no labels."""
    top_share: float | None = Field(default=None, gt=0, lt=1)
    """Largest share of the sessions that are called anomalous, rightly or not. Needs no labels."""

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if len(self.wanted) > 1:
            raise ValueError(
                f"a threshold can have one target only: give one of {' and '.join(self.wanted)}"
            )
        return self

    @property
    def wanted(self) -> tuple[str, ...]:
        """The settings that are given."""
        return tuple(name for name, value in self if value is not None)

    @property
    def needs_labels(self) -> bool:
        """Whether it can be told from labels only."""
        return self.precision is not None or self.recall is not None
