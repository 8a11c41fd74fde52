# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The error that a user can put right."""


class CommandError(Exception):
    """What the user can put right; the message is one line."""
