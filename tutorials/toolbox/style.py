# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""One look for all figures: sizes, spines, one colour for each method, names beside the lines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

# A method has the same colour in every notebook. The colours are those of Okabe and Ito (2008),
# which people with colour-blindness can tell apart too.
PALETTE = {
    "fisher": "#0072B2",
    "wallenius": "#D55E00",
    "exact": "#0072B2",
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
    "maximum likelihood": "#E69F00",
    "guide": "#CC79A7",
    "NUTS": "#009E73",
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


def name_lines(
    axes: Axes,
    colors: Mapping[str, str] = PALETTE,
    gap: float = 0.02,
    between: float = 0.06,
    **text: Any,
) -> None:
    """Write the label of each line beside its end, in its colour, in place of a legend.

    Labels of lines that end close together stand ``between`` apart, a share of the height. Call it
    when the limits of the axes are set.
    """
    lines = [line for line in axes.get_lines() if not line.get_label().startswith("_")]
    axes.get_xlim(), axes.get_ylim()  # limits that are not set follow the data only when asked
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = [to_axes.transform(line.get_xydata()[-1])[1] for line in lines]
    last = -1.0
    for height, line in sorted(zip(heights, lines, strict=True), key=lambda pair: pair[0]):
        last = max(height, last + between)
        color = colors.get(line.get_label(), line.get_color())
        place = {"transform": axes.transAxes, "va": "center", "color": color}
        axes.text(1 + gap, last, line.get_label(), **place, **text)


def save(figure: Figure, name: str, **options: Any) -> None:
    """Save a picture for the pages beside the notebooks, in full runs only."""
    if "CI" not in os.environ:
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path, **{"bbox_inches": "tight", **options})


def thumbnail(figure: Figure, name: str, *panels: Axes, width: int = 600) -> None:
    """Save a figure, or some of its panels, for the gallery in ``tutorials/README.md``."""
    figure.draw_without_rendering()  # the layout is known only after that
    pixels = Bbox.union([axes.get_tightbbox() for axes in panels or figure.axes])
    box = pixels.transformed(figure.dpi_scale_trans.inverted()).padded(0.12)
    save(figure, f"thumbnails/{name}.png", dpi=width / box.width, bbox_inches=box)
