# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Tables of groups, sizes and drawn counts, as people have them: files, DataFrames, records."""

from .errors import TableError as TableError
from .long import LongTable as LongTable
from .long import read_long as read_long
from .options import ReadOptions as ReadOptions
from .read import read_table as read_table
from .read import read_with as read_with
from .table import Table as Table
