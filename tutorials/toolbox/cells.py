# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""For 04_weak_supervision: images of six grey patches, and several autoencoders side by side."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from toolbox.pairs import Source

NAMES = "height 1", "width 1", "height 2", "width 2", "grey 1", "grey 2"
LEVELS = torch.tensor([8, 8, 5, 5, 5, 5])  # of the six factors
SHAPE = 11, 17  # rows and columns of an image: two rows of three patches, with gaps
PIXELS = SHAPE[0] * SHAPE[1]
_KINDS = "height", "width", "height", "width", "grey", "grey"


def corner(factor: int) -> tuple[int, int]:
    """The first row and the first column of the patch of a factor. Patches have 5 x 5 pixels."""
    return 6 * (factor // 3), 6 * (factor % 3)


def draw_cells(levels: Tensor) -> Tensor:
    """Images (..., 187) of six patches. Each patch shows one factor."""
    image = torch.zeros(*levels.shape[:-1], *SHAPE)
    for j, kind in enumerate(_KINDS):
        share = ((levels[..., j] + 1.0) / LEVELS[j]).unsqueeze(-1)
        bar = (5 * share - torch.arange(5.0)).clamp(0, 1)
        if kind == "height":
            patch = bar.unsqueeze(-1).expand(*bar.shape, 5)
        elif kind == "width":
            patch = bar.unsqueeze(-2).expand(*bar.shape, 5)
        else:
            patch = share.unsqueeze(-1)
        row, column = corner(j)
        image[..., row : row + 5, column : column + 5] = patch
    return image.flatten(-2)


CELLS = Source(NAMES, LEVELS, draw_cells)


class ManyLinear(nn.Module):
    """A linear layer for several networks that are trained at the same time."""

    def __init__(self, runs: int, inputs: int, outputs: int):
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(runs, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(runs, 1, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


def many_mlp(runs: int, *widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in zip(widths[:-1], widths[1:], strict=True):
        layers += [ManyLinear(runs, inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class CellVAE(nn.Module):
    """``runs`` autoencoders of single images, each with an encoder of the shared count."""

    def __init__(self, runs: int = 5, latent: int = 8):
        super().__init__()
        self.runs, self.latent = runs, latent
        self.encoder = many_mlp(runs, PIXELS, 256, 128, 2 * latent)
        self.decoder = many_mlp(runs, latent, 128, 256, PIXELS)
        self.count_encoder = many_mlp(runs, latent, 64, 1)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances. No variance is above 1, the variance of the prior."""
        mean, raw = self.encoder(images).chunk(2, -1)
        return mean, -nn.functional.softplus(raw)
