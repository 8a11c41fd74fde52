# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The laws by name: what ``law=`` means in :mod:`pyro_hypergeo.infer` and in the command."""

from __future__ import annotations

from ..ops.law import Law
from .fisher import FisherHypergeometric
from .urn_law import UrnLaw
from .wallenius import WalleniusHypergeometric

#: The class of each law. A law that is added here has its name everywhere.
LAWS: dict[str, type[UrnLaw]] = {
    cls.law.name: cls for cls in (FisherHypergeometric, WalleniusHypergeometric)
}


def law_of(law: str | Law) -> Law:
    """The law of a name; a law itself passes.

    :raises ValueError: if there is no law of that name.
    """
    if isinstance(law, Law):
        return law
    if law not in LAWS:
        raise ValueError(f"Expected `law` to be one of {sorted(LAWS)} or a `Law`, but got {law!r}.")
    return LAWS[law].law
