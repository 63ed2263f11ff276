"""The convolutional network of `loadtest.cnn`; copied beside its weights."""

from __future__ import annotations

import itertools

import torch
from torch import nn


class Cnn(nn.Module):
    """Takes images `x` [n, 3, 64, 64], returns probabilities [n, 10]."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 128)
        blocks = [_block(*pair) for pair in itertools.pairwise(widths)]
        self.body = nn.Sequential(*blocks)
        self.head = nn.Linear(widths[-1], 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return probabilities [n, 10]."""
        return torch.softmax(self.head(self.body(x).mean((2, 3))), dim=1)


def _block(fan_in: int, fan_out: int) -> nn.Module:
    convolution = nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(fan_out), nn.ReLU(), nn.MaxPool2d(2))


def build() -> nn.Module:
    """Build the network, without its weights."""
    return Cnn()
