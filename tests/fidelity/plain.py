"""The paper's method a second time, as plainly as it can be said; nothing in here comes from
logllm.

LogLLM (arXiv:2411.08561) is written out once more: one session at a time, and so without padding,
masks or memory of messages seen; LoRA as the sum it is; loss, optimiser, rate and oversampling as
arithmetic. Only the two bare base models are transformers'. It is slow, and short enough to be
checked line by line against section 1 of the project's paper.md: "Paper" and "Scripts" say which of
the two a line follows, the word in brackets is that table's row; "details" are the paragraph below
the table.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import BertModel, LlamaForCausalLM, PreTrainedTokenizerBase

MESSAGE_TOKENS = 100  # Paper [encoder]: at most 100 tokens a message
SESSION_MESSAGES = 128  # Paper [decoder]: at most 128 messages
MICRO_BATCH = 4  # Scripts [optimiser]: a batch of 16 is four times four
EPOCH_FLOOR = 50_000  # Scripts [oversampling]: an epoch has at least so many sessions

# Paper [prompt head / tail], [answer]. In the scripts the tail ends in two characters, a backslash
# and an n.
HEAD = "Below is a sequence of system log messages:"
TAIL = ". Is this sequence normal or anomalous? \n"
SCRIPTS_TAIL = ". Is this sequence normal or anomalous? \\n"
ANSWERS = {False: "The sequence is normal.", True: "The sequence is anomalous."}
FORCED = "The sequence is"  # Scripts, details: what generation is given of the answer


class Session(NamedTuple):
    """Messages whose variable parts are masked already, and the label."""

    messages: list[str]
    anomalous: bool


class Lora(nn.Module):
    """Paper [LoRA]: a linear layer W that never changes and a small learnt one beside it, W x +
    alpha / r * B (A x)."""

    def __init__(self, linear: nn.Linear, *, r: int, alpha: int):
        super().__init__()
        self.linear, self.scale = linear, alpha / r
        self.A = nn.Parameter(torch.empty(r, linear.in_features))
        self.B = nn.Parameter(torch.empty(linear.out_features, r))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.scale * ((x @ self.A.T) @ self.B.T)


def add_lora(model: nn.Module, names: Sequence[str], *, r: int, alpha: int) -> None:
    """Put LoRA beside every linear layer of one of these names."""
    for parent in list(model.modules()):
        for name in names:
            if isinstance(getattr(parent, name, None), nn.Linear):
                setattr(parent, name, Lora(getattr(parent, name), r=r, alpha=alpha))


class PlainLogLLM(nn.Module):
    """Paper [encoder], [projector], [decoder]: BERT, one linear layer, Llama."""

    def __init__(
        self,
        encoder: BertModel,
        decoder: LlamaForCausalLM,
        tokenizers: tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase],
        *,
        tail: str = TAIL,
        pooling: str = "pooler",
    ):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.encoder_tokenizer, self.decoder_tokenizer = tokenizers
        self.tail, self.pooling = tail, pooling
        self.projector = nn.Linear(encoder.config.hidden_size, decoder.config.hidden_size)
        # Paper [LoRA]; its dropout is left out here, and off in what this is compared with.
        add_lora(encoder, ("query", "value"), r=4, alpha=32)
        add_lora(decoder, ("q_proj", "v_proj"), r=8, alpha=16)

    def words(self, text: str) -> list[int]:
        """Words around the messages, as token ids."""
        return self.decoder_tokenizer(text, add_special_tokens=False)["input_ids"]

    def head(self) -> list[int]:
        """Scripts, details: beginning-of-sequence, for a tokenizer that sets one, stands before the
        head and nowhere else."""
        return self.decoder_tokenizer(HEAD)["input_ids"]

    def answer(self, *, anomalous: bool) -> list[int]:
        """Paper [answer]: the sentence, then end-of-sequence."""
        return [*self.words(ANSWERS[anomalous]), self.decoder_tokenizer.eos_token_id]

    def message_ids(self, message: str) -> list[int]:
        """Paper [encoder]: [CLS], the message, [SEP], of which the message gives way where that is
        more than 100 tokens."""
        ids = self.encoder_tokenizer(message, add_special_tokens=False)["input_ids"]
        return [
            self.encoder_tokenizer.cls_token_id,
            *ids[: MESSAGE_TOKENS - 2],
            self.encoder_tokenizer.sep_token_id,
        ]

    def vector(self, message: str) -> Tensor:
        """Paper [encoder], [projector]: BERT's pooler output (or, not in the paper, the mean over
        the tokens), then the linear layer."""
        output = self.encoder(input_ids=torch.tensor([self.message_ids(message)]))
        return self.projector(
            output.pooler_output[0]
            if self.pooling == "pooler"
            else output.last_hidden_state[0].mean(dim=0)
        )

    def embeddings(self, session: Session, answer: list[int]) -> Tensor:
        """Paper [decoder]: what it reads, head, one vector for each of the first 128 messages,
        tail, and an answer or its beginning."""
        embed = self.decoder.get_input_embeddings()
        vectors = [self.vector(message) for message in session.messages[:SESSION_MESSAGES]]
        return torch.cat(
            [
                embed(torch.tensor(self.head())),
                torch.stack(vectors),
                embed(torch.tensor(self.words(self.tail) + answer)),
            ]
        )

    def answer_logits(self, session: Session) -> Tensor:
        """For each token of the session's answer the logits from which it is to be read, those of
        the position before it."""
        answer = self.answer(anomalous=session.anomalous)
        logits = self.decoder(inputs_embeds=self.embeddings(session, answer)[None]).logits[0]
        return logits[-len(answer) - 1 : -1]

    def losses(self, session: Session) -> Tensor:
        """Paper [answer]: the cross-entropy of each of the answer's tokens."""
        answer = torch.tensor(self.answer(anomalous=session.anomalous))
        return nn.functional.cross_entropy(self.answer_logits(session), answer, reduction="none")

    @torch.no_grad()
    def says(self, session: Session) -> str:
        """Scripts [verdict]: the answer's beginning is given, then up to 6 tokens are generated,
        each the likeliest."""
        given = self.embeddings(session, self.words(FORCED))[None]
        whole = torch.ones(given.shape[:2], dtype=torch.long)
        end = self.decoder_tokenizer.eos_token_id
        ids = self.decoder.generate(
            inputs_embeds=given,
            attention_mask=whole,
            max_new_tokens=6,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=end,
        )
        return self.decoder_tokenizer.decode(ids[0], skip_special_tokens=True)


# Paper [stage 1], [stage 2], [stage 3]; Scripts [stage 2]: 2a and 2b in its place.
STAGES = {
    "1": ("decoder",),
    "2": ("encoder", "projector"),
    "2a": ("projector",),
    "2b": ("encoder", "projector"),
    "3": ("encoder", "projector", "decoder"),
}
RATES = {"1": 5e-4, "2": 5e-5, "2a": 5e-4, "2b": 5e-5, "3": 5e-5}


def learns(name: str, *, stage: str) -> bool:
    """Whether a stage changes a weight of this name: of encoder and decoder the LoRA layers alone,
    the projector whole."""
    part = name.split(".")[0]
    return part in STAGES[stage] and (part == "projector" or name.endswith((".A", ".B")))


def loss(model: PlainLogLLM, micro_batches: Sequence[Sequence[Session]]) -> Tensor:
    """Scripts, details: the mean over a micro-batch's answer tokens, divided by the number of
    micro-batches; gradients add up."""
    means = [
        torch.cat([model.losses(session) for session in micro_batch]).mean()
        for micro_batch in micro_batches
    ]
    return torch.stack(means).sum() / len(means)


class AdamW:
    """Scripts [optimiser], details: AdamW (Loshchilov and Hutter, 2019) with PyTorch's defaults, no
    clipping, new in every stage."""

    def __init__(self, weights: Iterable[nn.Parameter]):
        self.weights = list(weights)
        self.mean = [torch.zeros_like(weight) for weight in self.weights]
        self.square = [torch.zeros_like(weight) for weight in self.weights]
        self.steps = 0

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], *, lr: float) -> None:
        self.steps += 1
        for weight, gradient, mean, square in zip(
            self.weights, gradients, self.mean, self.square, strict=True
        ):
            mean.copy_(0.9 * mean + 0.1 * gradient)
            square.copy_(0.999 * square + 0.001 * gradient**2)
            mean_unbiased, square_unbiased = (
                mean / (1 - 0.9**self.steps),
                square / (1 - 0.999**self.steps),
            )
            weight.copy_(
                weight - lr * 0.01 * weight - lr * mean_unbiased / (square_unbiased.sqrt() + 1e-8)
            )


def rates(lr: float, *, micro_batches: int) -> Iterator[float]:
    """Scripts [optimiser], details: the rate at each of a stage's micro-batches; it falls to .7 of
    itself with every tenth that is over."""
    tenths_over = 0
    for micro_batches_over in range(micro_batches):
        while 10 * micro_batches_over >= (tenths_over + 1) * micro_batches:
            tenths_over += 1
        yield lr * 0.7**tenths_over


def minority_after(majority: int, minority: int, *, beta: float) -> int:
    """Paper [oversampling], scripts, details: the smaller class is repeated up to a share beta; it
    never shrinks."""
    return max(int(beta * majority / (1 - beta)), minority)


def epoch_length(normal: int, anomalous: int, *, beta: float, floor: int = EPOCH_FLOOR) -> int:
    """Sessions of an epoch. Scripts [oversampling]: the oversampled set, said again, whole, until
    it is the floor's length."""
    oversampled = max(normal, anomalous) + minority_after(
        max(normal, anomalous), min(normal, anomalous), beta=beta
    )
    length = oversampled
    while length < floor:
        length += oversampled
    return length


def stage_length(epoch: int, *, epochs: int) -> int:
    """Sessions a stage learns from. Scripts, details: the last incomplete micro-batch is
    dropped."""
    return epochs * epoch // MICRO_BATCH * MICRO_BATCH
