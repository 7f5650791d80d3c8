"""All parameters of a network in one buffer, all gradients in another: one all-reduce, one Adam kernel and one average an update."""

from __future__ import annotations

import torch
from torch import nn

ALIGNMENT = 16  # floats: every parameter starts on a 64-byte line


class ParameterBuffer:
    """Moves a network's parameters into one float32 vector; the modules keep using them as views.

    ``extra`` numbers ride along behind the gradients, for statistics that are averaged over workers in the same all-reduce.
    Without ``trained`` there are values alone.
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
            place = slice(start, start + parameter.numel())
            self.values.data[place] = parameter.data.flatten()
            parameter.data = self.values.data[place].view_as(parameter)
            if trained:
                parameter.grad = self.gradients[place].view_as(parameter)

    def clear(self) -> None:
        """Sets gradients and extras to zero; call instead of ``optimizer.zero_grad``."""
        self.buffer.zero_()

    def all_reduce_mean(self, parts: int, world: int) -> None:
        """Sums gradients and extras over all workers in one operation, and divides by the ``parts`` that were added up."""
        if world > 1:
            torch.distributed.all_reduce(self.buffer)
        if parts > 1:
            self.buffer.div_(parts)
