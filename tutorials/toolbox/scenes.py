# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""For 04b_scenes: small coloured scenes of six factors, which overlap in the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from toolbox.pairs import Source

NAMES = "floor hue", "wall hue", "object hue", "shape", "size", "position"
SHAPES = "square", "disc", "triangle", "cross"
LEVELS = torch.tensor([10, 10, 10, 4, 8, 15])  # of the six factors, as many as in shapes3d
SIDE = 32
PIXELS = 3 * SIDE * SIDE


def draw_scenes(levels: Tensor) -> Tensor:
    """Images (..., 3072): a dark wall above a dark floor, and a bright object before both."""
    levels = levels.float()
    hues = levels[..., :3] / LEVELS[:3]
    floor, wall = _color(hues[..., 0], 0.4, 0.25), _color(hues[..., 1], 0.4, 0.25)
    thing = _color(hues[..., 2], 0.75, 0.25)
    rows = torch.arange(SIDE) + 0.5
    ground = (rows > 20).float().unsqueeze(-1).expand(SIDE, SIDE)
    cover = _outline(levels[..., 3], 4.5 + 0.7 * levels[..., 4], 7.5 + 1.15 * levels[..., 5])
    floor, wall, thing = (c[..., None, None] for c in (floor, wall, thing))
    return torch.lerp(torch.lerp(wall, floor, ground), thing, cover.unsqueeze(-3)).flatten(-3)


SCENES = Source(NAMES, LEVELS, draw_scenes)


def _color(hue: Tensor, brightness: float, saturation: float) -> Tensor:
    """Red, green and blue (..., 3). Hues lie on a circle: 0 and 1 are the same colour."""
    angle = hue.unsqueeze(-1) - torch.tensor([0.0, 1 / 3, 2 / 3])
    return brightness + saturation * torch.cos(2 * torch.pi * angle)


def _outline(shape: Tensor, radius: Tensor, center: Tensor) -> Tensor:
    """How much of each pixel (..., 32, 32) the object covers. It stands on row 27."""
    pixels = torch.arange(SIDE) + 0.5
    shape, radius, center = (x[..., None, None] for x in (shape, radius, center))
    across = (pixels - center).abs()  # from the axis of the object
    up = 27 - radius - pixels.unsqueeze(-1)  # from its middle
    inside = torch.where(shape == 0, radius - torch.maximum(across, up.abs()), 0.0)
    disc = radius - (across.square() + up.square()).sqrt()
    triangle = torch.minimum(0.447 * (radius - up) - 0.894 * across, radius + up)
    arms = torch.minimum(across, up.abs()), torch.maximum(across, up.abs())
    cross = torch.minimum(0.4 * radius - arms[0], radius - arms[1])
    for kind, distance in ((1, disc), (2, triangle), (3, cross)):
        inside = torch.where(shape == kind, distance, inside)
    return (inside + 0.5).clamp(0, 1)


class Canvas(nn.Module):
    """A decoder: one small network, with the same weights, paints each block of 4 x 4 pixels.

    It gets the latents and the place of the block (a spatial broadcast decoder).
    """

    def __init__(self, latent: int, hidden: int):
        super().__init__()
        line = torch.linspace(-2, 2, SIDE // 4)
        self.register_buffer("places", torch.cartesian_prod(line, line))  # (64, 2)
        self.from_latents = nn.Linear(latent, hidden)
        self.from_places = nn.Linear(2, hidden, bias=False)
        self.paint = nn.Sequential(
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 48),
        )

    def forward(self, latents: Tensor) -> Tensor:
        start = self.from_latents(latents).unsqueeze(-2) + self.from_places(self.places)
        blocks = self.paint(start).unflatten(-1, (3, 4, 4)).unflatten(-4, (8, 8))
        return blocks.movedim(-3, -5).movedim(-2, -3).flatten(-5)


class SceneVAE(nn.Module):
    """A small convolutional autoencoder of single images, and an encoder of the shared count.

    Shapes are (1, batch, ...): there is one run, where 04 trains several networks side by side.
    """

    runs = 1

    def __init__(self, latent: int = 10, width: int = 32):
        super().__init__()
        self.latent = latent
        self.encoder = nn.Sequential(
            nn.Unflatten(-1, (3, SIDE, SIDE)),
            nn.Conv2d(3, width, 4, stride=4),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(1),
            nn.Linear(32 * width, 128),
            nn.ReLU(),
            nn.Linear(128, 2 * latent),
        )
        self.decoder = Canvas(latent, 4 * width)
        self.count_encoder = nn.Sequential(nn.Linear(latent, 64), nn.ReLU(), nn.Linear(64, 1))

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances. No variance is above 1, the variance of the prior."""
        mean, raw = self.encoder(images.flatten(0, 1)).unflatten(0, images.shape[:2]).chunk(2, -1)
        return mean, -nn.functional.softplus(raw)
