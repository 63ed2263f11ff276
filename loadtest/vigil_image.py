"""The image model for Vigil's safetensors format; copied beside its weights."""

from __future__ import annotations

import torch
from torch import nn


class Means(nn.Module):
    """Takes `pixels` [n, 3, h, w], returns `means` [n, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the mean of every channel."""
        return pixels.mean((2, 3)) * self.scale


def build() -> nn.Module:
    """Build the model."""
    return Means()
