# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Module paths of version 0.1.0, for imports that name one of them; to be removed in 0.3."""

import sys

#: All of their public names are names of `ops`, so each path is an alias of the whole.
FORMER = (
    "affine_gradient",
    "elementary_symmetric",
    "encodings",
    "from_mean",
    "gumbel_gradient",
    "implicit_gradient",
    "latent_counts",
    "log_prob",
    "marginals",
    "mean_gradient",
    "mode",
    "moments",
    "relaxed",
    "sampling",
    "suffix",
    "wallenius_gradient",
    "wallenius_marginals",
    "wallenius_mode",
    "wallenius_moments",
    "wallenius_sampling",
    "windows",
)


def keep(package: str) -> None:
    """Let the former paths below a package lead to the package."""
    module = sys.modules[package]
    for name in FORMER:
        sys.modules.setdefault(f"{package}.{name}", module)
        if not hasattr(module, name):  # a function of the same name stays
            setattr(module, name, module)
