"""Flat buffers for parameters and gradients: one all-reduce, one Adam kernel and one EMA operation per update."""

from __future__ import annotations

import torch
from torch import nn

ALIGNMENT = 16  # floats: every parameter starts at a multiple of 64 bytes


class ParameterBuffer:
    """Moves a network's parameters into one float32 vector, of which the modules' parameters become views.

    ``extra`` values follow the gradients, for statistics averaged over workers in the same all-reduce. With
    ``trained=False`` there are no gradients and no extra values.
    """

    def __init__(self, network: nn.Module, *, extra: int = 0, trained: bool = True) -> None:
        parameters = list(network.parameters())
        starts, size = [], 0
        for parameter in parameters:
            starts.append(size)
            size += -(-parameter.numel() // ALIGNMENT) * ALIGNMENT
        device = parameters[0].device
        self.values = nn.Parameter(torch.zeros(size, device=device), requires_grad=trained)
        self.buffer = torch.zeros(size + extra if trained else 0, device=device)
        self.gradients = self.buffer[:size]
        self.extra = self.buffer[size:]
        if trained:
            self.values.grad = self.gradients
        for parameter, start in zip(parameters, starts, strict=True):
            span = slice(start, start + parameter.numel())
            self.values.data[span] = parameter.data.flatten()
            parameter.data = self.values.data[span].view_as(parameter)
            if trained:
                parameter.grad = self.gradients[span].view_as(parameter)

    def clear(self) -> None:
        """Zero gradients and extra values; call it instead of ``optimizer.zero_grad``."""
        self.buffer.zero_()

    def all_reduce_mean(self, micro_batches: int, world_size: int) -> None:
        """Sum gradients and extra values over all workers and divide by the number of ``micro_batches``."""
        if world_size > 1:
            torch.distributed.all_reduce(self.buffer)
        if micro_batches > 1:
            self.buffer.div_(micro_batches)
