"""The networks of `loadtest.gpu`; copied beside their weights."""

from __future__ import annotations

import torch
from torch import nn


class Perceptron(nn.Module):
    """Takes `x` [n, 256], returns probabilities [n, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(256, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return probabilities [n, 10]."""
        return torch.softmax(self.layers(x), dim=1)


class Convolutions(nn.Module):
    """Takes images `x` [n, 3, 64, 64], returns probabilities [n, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(*_block(3, 64), *_block(64, 128), *_block(128, 256))
        self.head = nn.Linear(256, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return probabilities [n, 10]."""
        return torch.softmax(self.head(self.body(x).mean((2, 3))), dim=1)


class Transformer(nn.Module):
    """Takes embedded tokens `x` [n, 64, 256], returns probabilities [n, 10]."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(256, 4, 1024, dropout=0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = nn.Linear(256, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return probabilities [n, 10]."""
        return torch.softmax(self.head(self.body(x).mean(1)), dim=1)


def _block(fan_in: int, fan_out: int) -> list[nn.Module]:
    convolution = nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(fan_out), nn.ReLU(), nn.MaxPool2d(2)]


def perceptron() -> nn.Module:
    """Build the perceptron, without its weights."""
    return Perceptron()


def convolutions() -> nn.Module:
    """Build the convolutional network, without its weights."""
    return Convolutions()


def transformer() -> nn.Module:
    """Build the transformer, without its weights."""
    return Transformer()
