# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0


class CommandError(Exception):
    """What the user can put right; the message is one line."""
