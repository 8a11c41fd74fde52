# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Standard output and standard error: what the command says, and who reads it."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def say(text: str, stream: TextIO) -> None:
    """Print a text. If nobody reads any more, as after ``| head``, this is no mistake."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        _close(stream)


def flush() -> None:
    """Write what is left, so that Python finds no broken pipe when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            _close(stream)


def is_terminal(stream: TextIO) -> bool:
    """Whether a person sees the stream as it is written, so that a progress bar makes sense."""
    return stream.isatty()


def _close(stream: TextIO) -> None:
    # Python writes the rest of the buffer when it ends. Then nobody reads it, and nothing fails.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
