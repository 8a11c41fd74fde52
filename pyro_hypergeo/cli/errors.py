# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The error that the command shows to its user."""


class CommandError(Exception):
    """A mistake that the user can correct. The message is one line."""
