"""The digits model: a small convolutional network on 8x8 images with raw pixels of 0 to 16."""

from __future__ import annotations

import torch
from torch import nn

WHITE = 16.0


class DigitsNet(nn.Module):
    """Takes `image` [n, 1, 8, 8], returns probabilities [n, 10] as float32.

    It computes in float64. Kernels sum in another order for another batch size, and in float32
    a confident softmax makes that visible: a row could differ from itself by 134 units in the
    last place. Rounded from float64 it is the same row in every batch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.hidden = nn.Linear(32 * 4 * 4, 64)
        self.head = nn.Linear(64, 10)

    def logits(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits [n, 10] and penultimate activations [n, 64]."""
        scaled = image.to(self.head.weight.dtype) / WHITE
        maps = torch.relu(self.conv1(scaled))
        maps = torch.relu(self.conv2(maps))
        features = torch.relu(self.hidden(nn.functional.avg_pool2d(maps, 2).flatten(1)))
        return self.head(features), features

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return probabilities [n, 10]."""
        return self.forward_with_features(image)[0]

    def forward_with_features(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return probabilities [n, 10] and penultimate activations [n, 64]."""
        logits, features = self.logits(image)
        return torch.softmax(logits, dim=1).float(), features.float()


def build() -> nn.Module:
    """Build the network, without its weights."""
    return DigitsNet().double()
