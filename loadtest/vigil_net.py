"""The raced model for Vigil's safetensors format; copied beside the weights.

In float32, as the peers run it.
"""

from __future__ import annotations

import torch
from torch import nn


class Mlp(nn.Module):
    """Takes `x` [n, 30], returns probabilities [n, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module("0", nn.Linear(30, 64))
        self.add_module("1", nn.Linear(64, 64))
        self.add_module("2", nn.Linear(64, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return probabilities [n, 2]."""
        return self.forward_with_features(x)[0]

    def forward_with_features(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return probabilities [n, 2] and penultimate activations [n, 64]."""
        first, second, head = self.children()
        features = torch.relu(second(torch.relu(first(x))))
        return torch.softmax(head(features), dim=1), features


def build() -> nn.Module:
    """Build the network, without its weights."""
    return Mlp()
