# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Module paths of version 0.1.0, for imports that still use them; to be removed in 0.3."""

import sys

#: Every public name of these modules is a name of `ops`. So each path is an alias of `ops`.
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
    """Make each former path below a package an alias of the package."""
    module = sys.modules[package]
    for name in FORMER:
        sys.modules.setdefault(f"{package}.{name}", module)
        if not hasattr(module, name):  # a function of the same name stays
            setattr(module, name, module)
