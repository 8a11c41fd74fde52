# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""The error for a mistake in a table."""


class TableError(ValueError):
    """A mistake in a table. The message is one line: the file, the line, and what is wrong."""
