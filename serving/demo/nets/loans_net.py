"""The loans model: a multilayer perceptron on five amounts and two categorical columns."""

from __future__ import annotations

import torch
from torch import nn

PURPOSES = 4
OWNERSHIPS = 3


class LoansNet(nn.Module):
    """Takes `numeric` [n, 5] and category codes `categorical` [n, 2], returns [n, 2] as float32.

    An unknown category comes as code -1 and counts as none of the known ones. It computes in
    float64 so that a row is the same in every batch; see the digits model.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(5))
        self.register_buffer("scale", torch.ones(5))
        self.hidden1 = nn.Linear(5 + PURPOSES + OWNERSHIPS, 32)
        self.hidden2 = nn.Linear(32, 32)
        self.head = nn.Linear(32, 2)

    def logits(
        self, numeric: torch.Tensor, categorical: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits [n, 2] and penultimate activations [n, 32]."""
        # Amounts of money and time act by their ratios.
        amounts = (torch.log1p(numeric.to(self.mean.dtype)) - self.mean) / self.scale
        columns = [
            amounts,
            _one_hot(categorical[:, 0], PURPOSES, amounts.dtype),
            _one_hot(categorical[:, 1], OWNERSHIPS, amounts.dtype),
        ]
        hidden = torch.relu(self.hidden1(torch.cat(columns, dim=1)))
        features = torch.relu(self.hidden2(hidden))
        return self.head(features), features

    def forward(self, numeric: torch.Tensor, categorical: torch.Tensor) -> torch.Tensor:
        """Return probabilities [n, 2]."""
        return self.forward_with_features(numeric, categorical)[0]

    def forward_with_features(
        self, numeric: torch.Tensor, categorical: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return probabilities [n, 2] and penultimate activations [n, 32]."""
        logits, features = self.logits(numeric, categorical)
        return torch.softmax(logits, dim=1).float(), features.float()


def _one_hot(codes: torch.Tensor, size: int, dtype: torch.dtype) -> torch.Tensor:
    known = torch.arange(size, device=codes.device)
    return (codes.unsqueeze(1) == known).to(dtype)


def build() -> nn.Module:
    """Build the network, without its weights."""
    return LoansNet().double()
