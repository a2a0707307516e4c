"""Stages as data, and what all stages share."""

from typing import Literal, Self

from pydantic import Field, model_validator

from logllm.config.section import CountOrAuto, Section

Part = Literal["encoder", "projector", "decoder"]


_PER_LINE = {"crop": "false", "replace_normal": "0", "transplant": "0", "beginnings": "0"}
"""Settings of a stage that need a label for each line, and how they are off."""


class StageSection(Section):
    """One stage: which parts learn, how fast, for how long, and against what odds."""

    # What learns, and how fast.
    trains: tuple[Part, ...] = Field(min_length=1)
    """Parts that receive gradients: LoRA adapters of encoder and decoder, all of the projector."""
    lr: float = Field(gt=0)
    """Peak learning rate."""
    # For how long.
    epochs: int | None = Field(default=None, ge=1)
    """Passes over the oversampled sessions; one of `epochs` and `max_sessions`."""
    max_sessions: int | None = Field(default=None, ge=1)
    """Sessions drawn without replacement from the oversampled set, again and again where it holds
    fewer (paper, stage 1: 1,000)."""
    min_epoch_sessions: int = Field(default=0, ge=0)
    """An epoch has at least this many sessions, by repetition (the paper's scripts: 50,000)."""
    # How a step is made.
    schedule: Literal["tenths", "one-cycle", "constant"] = "tenths"
    """`tenths`: times 0.7 after every tenth of the stage (the paper's scripts); `one-cycle`: up to
    `lr`, then down to zero."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's weight decay (PyTorch's default, and so the paper's: .01)."""
    beta2: float = Field(default=0.999, gt=0, lt=1)
    """AdamW's decay of the mean of squared gradients (PyTorch's default, and so the paper's: .999).
    In a stage of a few hundred steps .95, as large language models are trained with, follows a
    change of the gradient's size soon enough: the loss leaps less."""
    clip: float | None = Field(default=None, gt=0)
    """Largest norm of a step's gradient; none: no clipping (paper)."""
    # Against what odds: each time a session is drawn it is altered so that its label stays true,
    # and what went with the label by chance is not learnt.
    shuffle_messages: bool = False
    """Each session's messages in a random order, drawn anew each time: for sets where order carries
    no label (paper: off)."""
    replace_normal: float = Field(default=0.0, ge=0, le=1)
    """Share of a session's normal messages replaced by random normal ones of the train part, drawn
    anew each time. Where a session is anomalous because a line is, the label stays true, and the
    company an alert keeps is no longer learnt for it. Needs labels per line (paper: 0)."""
    crop: bool = False
    """A random number of a session's messages, another each time; of an anomalous one at least one
    alert stays, so that the label stays true and it is the alert that is learnt. Needs labels per
    line (paper: off)."""
    transplant: float = Field(default=0.0, ge=0, le=1)
    """Share of the anomalous sessions whose alerts, all of them and in order, are set into a random
    normal session instead, another each time: the label stays true, and no company is learnt for
    the alert. Needs labels per line (paper: 0)."""
    insert: float = Field(default=0.0, ge=0, le=1)
    """Share of the sessions that are seen with one message more for each twenty begun, at random
    places, drawn anew each time: any line's of the train part that is not known to be an alert, or
    the one before it again. For logs whose programs come to say more than in training (paper:
    0)."""
    beginnings: int = Field(default=0, ge=0)
    """How many beginnings of each session, drawn anew each time, are judged beside the whole one:
    anomalous from the first alert on. They share their positions with it, so that there are more
    verdicts at hardly any cost. Needs labels per line (paper: 0)."""
    message_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the message vectors before the projector, another mask for each occurrence (paper:
    0)."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.max_sessions is None):
            raise ValueError("a stage takes one of epochs and max_sessions")
        return self

    def per_line(self) -> dict[str, str]:
        """Settings that are on and need labels of lines, each with the value that turns it off."""
        return {name: off for name, off in _PER_LINE.items() if getattr(self, name)}

    @property
    def draws(self) -> bool:
        """Whether its sessions can come to hold messages of other ones."""
        return bool(self.insert or self.per_line())


class TrainSection(Section):
    """What all stages share."""

    # What is learnt.
    stages: tuple[StageSection, ...] = ()
    """Run one after the other, each with a new optimiser and schedule; method `logllm` needs one or
    more."""
    objective: Literal["answer", "verdict"] = "answer"
    """`answer`: cross-entropy over the answer's tokens (paper); `verdict`: cross-entropy between
    the two verdict logits."""
    # From which sessions.
    draw: Literal["sessions", "distinct", "roots"] = "sessions"
    """What an epoch holds: `sessions`, every one (paper); `distinct`, each distinct sequence with
    its label once, so that rare ones are not lost among thousands of copies of the frequent ones;
    `roots`, as often as the square root of its copies, so that frequent ones count more than rare
    ones all the same."""
    oversample: float = Field(default=0.3, ge=0, lt=1)
    """Share up to which the minority class is repeated (paper's beta: .3)."""
    # How much at once, which decides memory.
    batch: int = Field(default=16, ge=1)
    """Sessions an optimiser step."""
    micro_batch: CountOrAuto = 16
    """Sessions a forward pass; gradients accumulate over batch / micro_batch passes (the paper's
    scripts: 4). `auto`: as many as memory is foretold to hold; gradients are those of one pass over
    the whole batch, however it is cut."""
    drop_last: bool = False
    """Leave out a stage's last, incomplete micro-batch (the paper's scripts do)."""
    precision: Literal["no", "bf16", "fp16"] = "no"
    """Mixed precision of the passes (Accelerate); `no`: the weights' own format."""
    gradient_checkpointing: bool = False
    """Compute each layer a second time on the way back instead of keeping its inner states: less
    memory, about a third more time."""
    base_dropout: bool = False
    """The base models' own dropout acts too, in the parts that learn (the paper's scripts: off,
    they never switch to training mode)."""
    # What may interrupt, repeat or check training.
    checkpoint_steps: int = Field(default=50, ge=1)
    """Optimiser steps between checkpoints; each stage's end makes one too."""
    folds: int = Field(default=0, ge=0, le=10)
    """How often the method learns once more, each time without some kinds of fault, to take the
    threshold (and that of lines) from how it judges those; 0: the threshold is taken from the
    validation part, which says little of faults of new kinds."""
    languages: tuple[str, ...] = ()
    """Languages, such as `de`, into which some sessions are copied: one copy for each two sessions,
    with the same labels. A program that speaks its user's language is then known in those, too, and
    each of `folds` judges what it holds out in one of them as well."""
    translations: str = "postgres"
    """Where the translations come from: a data set that comes with logllm and has some, or a JSON
    file made by `datasets/postgres/catalogues.py` from the message catalogues of a program (GNU
    gettext's)."""
    seed: int = Field(default=0, ge=0, lt=2**64)
    """Seed of order, draws, initial weights and dropout."""

    @model_validator(mode="after")
    def _whole_micro_batches(self) -> Self:
        if self.batch % self.unit:
            raise ValueError(
                f"batch {self.batch} is not a multiple of micro_batch {self.micro_batch}"
            )
        return self

    @property
    def unit(self) -> int:
        """Sessions whose loss is one mean, and which a schedule counts as one.

        That is a micro-batch, or the whole batch if the machine settles how it is cut.

        >>> TrainSection(micro_batch=4).unit, TrainSection(micro_batch="auto").unit
        (4, 16)
        """
        return self.batch if self.micro_batch == "auto" else self.micro_batch

    def per_line(self) -> dict[str, str]:
        """Such settings of all stages, by the names that `--set` takes.

        >>> stage = StageSection(trains=("decoder",), lr=1, epochs=1, crop=True)
        >>> TrainSection(stages=(stage,)).per_line()
        {'train.stages.0.crop': 'false'}
        """
        paths: dict[str, str] = {}
        for at, stage in enumerate(self.stages):
            for name, off in stage.per_line().items():
                paths[f"train.stages.{at}.{name}"] = off
        return paths


class RetrainSection(Section):
    """What retraining learns from, and what its gate asks."""

    # What is learnt from.
    fewest: int = Field(default=10, ge=2)
    """Answers that no run has learnt yet, below which nothing is trained."""
    shares: int = Field(default=5, ge=2)
    """Shares of these answers, each judged by a run that has learnt from the others. Of a method
    that takes long to train there are two: one is learnt from, the other one judged."""
    quiet: int = Field(default=1_000, ge=0)
    """How many of the newest sessions that were judged normal, and that nobody objected to, count
    as normal: half of them are learnt from, half are judged."""
    # What the gate asks: a run that is worse in any of these does not replace the one at work.
    harm: float = Field(default=0.02, ge=0, lt=1)
    """How much lower F1 and average precision may be on the earlier labelled data: the 95 %
    interval of the difference lies above that."""
    alarms: float = Field(default=0.02, ge=0, le=1)
    """How much larger the share of alarms may surely be among quiet sessions that are not learnt
    from: the lower end of the 95 % interval of the difference. Some of them were missed."""
    silence: float = Field(default=0.2, ge=0, le=1)
    """How much smaller the share of alarms may surely be among alarms of kinds that nobody called
    false: by the upper end of the 95 % interval of the difference."""
    contradicting: float = Field(default=0.2, ge=0, le=1)
    """Share of the answers that may contradict the earlier labelled data."""
    agreeing: float = Field(default=0.6, ge=0, le=1)
    """Share of the new answers on which runs that have not learnt them must be right: else they do
    not agree with one another, and nothing can be learnt from them."""
    seed: int = Field(default=0, ge=0)
    """Decides how answers are divided, and the draws of the intervals."""
