"""The cancer model: a multilayer perceptron on the 30 raw measurements of a cell nucleus."""

from __future__ import annotations

import torch
from torch import nn


class CancerNet(nn.Module):
    """Takes `x` [n, 30], returns probabilities [n, 2] as float32.

    `mean` and `scale` [30] standardise the input and travel with the weights. It computes in
    float64 so that a row is the same in every batch; see the digits model.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(30))
        self.register_buffer("scale", torch.ones(30))
        self.hidden1 = nn.Linear(30, 64)
        self.hidden2 = nn.Linear(64, 64)
        self.head = nn.Linear(64, 2)

    def logits(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits [n, 2] and penultimate activations [n, 64]."""
        standard = (x.to(self.mean.dtype) - self.mean) / self.scale
        features = torch.relu(self.hidden2(torch.relu(self.hidden1(standard))))
        return self.head(features), features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return probabilities [n, 2]."""
        return self.forward_with_features(x)[0]

    def forward_with_features(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return probabilities [n, 2] and penultimate activations [n, 64]."""
        logits, features = self.logits(x)
        return torch.softmax(logits, dim=1).float(), features.float()


def build() -> nn.Module:
    """Build the network, without its weights."""
    return CancerNet().double()
