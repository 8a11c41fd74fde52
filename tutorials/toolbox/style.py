# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""One look for all figures: sizes, spines, one colour for each method, names beside the lines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# A method has the same colour in every notebook. The colours are those of Okabe and Ito (2008),
# which people with colour-blindness can tell apart too.
PALETTE = {
    "fisher": "#0072B2",
    "wallenius": "#D55E00",
    "exact": "#000000",
    "affine": "#0072B2",
    "mean": "#56B4E9",
    "implicit": "#CC79A7",
    "expectation": "#009E73",
    "gumbel": "#E69F00",
    "score function": "#D55E00",
    "k-subset": "#0072B2",
    "count": "#CC79A7",
    "AdaVAE": "#E69F00",
    "LabelVAE": "#D55E00",
    "VAE": "#009E73",
    "independent": "#999999",
    "baseline": "#999999",
    "truth": "#000000",
}
GREY = "#999999"


def use() -> None:
    """Set the look of all figures that follow."""
    plt.rcParams.update(
        {
            "figure.dpi": 120,
            "savefig.dpi": 120,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "axes.titlelocation": "left",
            "legend.frameon": False,
            "image.cmap": "Greys",
        }
    )


def name_lines(axes: Axes, colors: Mapping[str, str] = PALETTE, gap: float = 0.02) -> None:
    """Write the label of each line beside its end, in its colour, in place of a legend."""
    height = axes.get_ylim()
    span = height[1] - height[0]
    log = axes.get_yscale() == "log"
    transform = axes.get_yaxis_transform()
    lines = [line for line in axes.get_lines() if not line.get_label().startswith("_")]
    to_axes = axes.transData + axes.transAxes.inverted()
    places = sorted(
        (to_axes.transform((line.get_xdata()[-1], line.get_ydata()[-1]))[1], i)
        for i, line in enumerate(lines)
    )
    last = -1.0
    for place, i in places:
        # Names of lines that end at nearly one height stand one above the other.
        last = max(place, last + 0.06)
        y = height[0] + last * span if not log else height[0] * (height[1] / height[0]) ** last
        line = lines[i]
        color = colors.get(line.get_label(), line.get_color())
        axes.text(1 + gap, y, line.get_label(), color=color, transform=transform, va="center")


def save(figure: Figure, name: str) -> None:
    """Save a picture for the pages beside the notebooks, in full runs only."""
    if "CI" not in os.environ:
        figure.savefig(Path(name), bbox_inches="tight")
