# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The laws by name: what ``law=`` means in :mod:`pyro_hypergeo.infer` and in the command.

A law of your own gets a name here: ``LAWS["mine"] = Mine``, with ``Mine`` a subclass of
:class:`~pyro_hypergeo.distributions.UrnLaw` and ``Mine.law.name == "mine"``. Then ``law="mine"``
works everywhere, and ``--law mine`` works in a program that calls ``pyro_hypergeo.cli.main``.
"""

from __future__ import annotations

from ..ops.law import Law
from .fisher import FisherHypergeometric
from .urn_law import UrnLaw
from .wallenius import WalleniusHypergeometric

#: The class of each law, by the name of the law.
LAWS: dict[str, type[UrnLaw]] = {
    cls.law.name: cls for cls in (FisherHypergeometric, WalleniusHypergeometric)
}


def law_of(law: str | Law) -> Law:
    """Find a law by its name.

    >>> from pyro_hypergeo.distributions import law_of
    >>> law_of("wallenius").title
    "Wallenius'"

    :param law: a name in :data:`LAWS`, or a :class:`~pyro_hypergeo.ops.Law`, which is returned as
        it is.
    :type law: str or Law
    :return: the :class:`~pyro_hypergeo.ops.Law`.
    :raises ValueError: if no law has this name.
    """
    if isinstance(law, Law):
        return law
    if law not in LAWS:
        raise ValueError(f"Expected `law` to be one of {sorted(LAWS)} or a `Law`, but got {law!r}.")
    return LAWS[law].law
