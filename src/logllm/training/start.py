"""A projector that begins by saying a message's own words to the decoder, instead of anything."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from logllm.model.logllm import LogLLM

_RIDGE = 0.01
"""Penalty on the projector's weights, as a share of the vectors' own squares."""


def start_with_words(model: LogLLM, messages: Sequence[str], *, vectors: Tensor, tokenizer: Any) -> None:
    """Fit the projector to what the decoder itself would read in place of each message.

    That is the mean of its input embeddings of the message's tokens, tokens that few messages have counting more (by the logarithm
    of how few), as long as a token's embedding is on average. What the decoder knows of words then serves from the first step, for
    messages too that no session of the training part holds.

    Args:
        model: its projector is written over.
        messages: masked, of the training part.
        vectors: theirs, (u, d_enc).
        tokenizer: the decoder's.
    """
    ids = [np.unique(each) for each in tokenizer(list(messages), add_special_tokens=False)["input_ids"]]
    table = model.decoder.model.get_input_embeddings().weight.detach().float()
    found = np.bincount(np.concatenate(ids).astype(np.int64), minlength=len(table))
    rarity = torch.from_numpy(np.log((1 + len(messages)) / (1 + found))).to(table)  # (v,)
    said = torch.zeros((len(messages), table.shape[1]), device=table.device)
    for row, tokens in enumerate(ids):
        some = torch.from_numpy(tokens.astype(np.int64)).to(table.device)
        said[row] = rarity[some] @ table[some] / rarity[some].sum().clamp_min(1e-6)
    said *= table.norm(dim=1).mean() / said.norm(dim=1).mean()  # (u, d_dec)
    x = vectors.double()
    x, middle = x - x.mean(0), x.mean(0)
    squares = x.T @ x
    ridge = _RIDGE * squares.diagonal().mean() * torch.eye(len(squares), dtype=x.dtype, device=x.device)
    weight = torch.linalg.solve(squares + ridge, x.T @ (said - said.mean(0)).double())  # (d_enc, d_dec)
    with torch.no_grad():
        model.projector.weight.copy_(weight.T)
        model.projector.bias.copy_(said.mean(0) - middle @ weight)
