"""Whether the network can be sharded (FSDP), tried on the tiny one.

Gradients of two processes beside those of one.

    python -m torch.distributed.run --nproc-per-node 2 --master-addr 127.0.0.1
        --master-port 29500 benchmarks/sharded.py

Every layer of the decoder is given to PyTorch's `fully_shard`, over gloo on processors or NCCL on
GPUs. Each process takes half of four sessions; one process has taken them one half after the other.
Dropout is off: nothing is drawn.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from logllm.config.model import DecoderSection, EncoderSection, ModelSection
from logllm.model.encoder import MessageTokens
from logllm.model.logllm import LogLLM, assemble, collate

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.tiny import make_models

TEXTS = ["open file", "close file", "lost replica", "retry"]
SESSIONS = [np.array([0, 1]), np.array([0, 3, 1]), np.array([0, 2]), np.array([2, 3])]
LABELS = torch.tensor([0, 0, 1, 1])
HALVES = ([0, 1], [2, 3])


def network(section: ModelSection) -> tuple[LogLLM, Any]:
    """The network and its tokenizer, the same in every process.

    No adapter is at zero, and all of them learn.
    """
    torch.manual_seed(0)
    model, tokenizer = assemble(section)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.2)
    model.trains(("projector", "encoder", "decoder"), message_dropout=0.0, base_dropout=False)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model, tokenizer


def learn(model: LogLLM, tokenizer: Any, *, rows: list[int]) -> None:
    """Add the gradients of some sessions."""
    tokens = MessageTokens(TEXTS, tokenizer, max_tokens=32)
    batch = collate(
        [SESSIONS[row] for row in rows], tokens=tokens, vectors=None, labels=LABELS[rows]
    )
    model.loss(batch, objective="answer").backward()  # type: ignore[no-untyped-call]


def whole(gradient: torch.Tensor, *, processes: int) -> torch.Tensor:
    """The mean of all processes' gradients: a sharded one is that already, in pieces."""
    if isinstance(gradient, dist.tensor.DTensor):
        return gradient.full_tensor()
    dist.all_reduce(gradient)
    return gradient / processes


def main() -> None:
    """Compare and print."""
    dist.init_process_group()
    rank, processes = dist.get_rank(), dist.get_world_size()
    folders = [tempfile.mkdtemp() if rank == 0 else None]
    dist.broadcast_object_list(folders)
    folder = Path(str(folders[0]))
    if rank == 0:
        make_models(folder)
    dist.barrier()
    section = ModelSection(
        encoder=EncoderSection(weights=str(folder / "tiny-bert")),
        decoder=DecoderSection(weights=str(folder / "tiny-llama")),
    )

    # One process.
    alone, tokenizer = network(section)
    for rows in HALVES:
        learn(alone, tokenizer, rows=rows)
    expected = {
        name: value.grad / 2 for name, value in alone.named_parameters() if value.grad is not None
    }

    # Two, the decoder's layers in halves.
    model, tokenizer = network(section)
    layers = [module for module in model.modules() if type(module).__name__ == "LlamaDecoderLayer"]
    mesh = init_device_mesh("cpu", (processes,))
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    learn(model, tokenizer, rows=HALVES[rank])
    errors = []
    for name, value in model.named_parameters():
        if name in expected and value.grad is not None:
            error = (whole(value.grad, processes=processes) - expected[name]).abs().max()
            errors.append(float(error / expected[name].abs().max().clamp_min(1e-12)))
    if rank == 0:
        print(
            f"{len(layers)} layers sharded among {processes} processes, {len(errors)} of"
            f" {len(expected)} gradients compared"
        )
        print(f"largest difference, as a share of the gradient's largest value: {max(errors):.1e}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
