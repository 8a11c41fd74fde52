# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""From bytes to text: encodings, gzip, standard input."""

from __future__ import annotations

import codecs
import gzip
import os
import sys
import zlib
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias

from .errors import TableError

#: A path, "-" for standard input, or an open file.
Source: TypeAlias = "str | os.PathLike[str] | IO[bytes] | IO[str]"

_BOMS = [  # the mark of UTF-16 is the start of that of UTF-32
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
]
_ZIP, _OLD_EXCEL, _GZIP = b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"\x1f\x8b"


class Text(NamedTuple):
    """The text of a file."""

    label: str  # for messages: the path as the user gave it
    name: str  # for titles
    content: str
    notes: list[str]


def read_text(source: Source) -> Text:
    """Read a file, and find its encoding.

    :raises OSError: if the file cannot be read.
    :raises TableError: if it is no text.
    """
    label, name, content = _read(source)
    if isinstance(content, str):
        return Text(label, name, content.removeprefix("\ufeff"), [])
    if content.startswith(_GZIP):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise TableError(f"{label}:1: a damaged gzip file: {error}") from None
    if content.startswith((_ZIP, _OLD_EXCEL)):
        raise TableError(f"{label}:1: a workbook or an archive, not text; save the table as CSV")
    notes: list[str] = []
    return Text(label, name, _decoded(label, content, notes), notes)


def _read(source: Any) -> tuple[str, str, bytes | str]:
    if isinstance(source, (str, os.PathLike)) and os.fspath(source) == "-":
        name = "standard input"
        return name, name, getattr(sys.stdin, "buffer", sys.stdin).read()
    if hasattr(source, "read"):
        label = getattr(source, "name", None)
        label = label if isinstance(label, str) else "the file"
        return label, Path(label).name, source.read()
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(
            f"Expected `source` to be a path, '-' or an open file, but got {source!r} of type "
            f"{type(source).__name__}."
        )
    path = Path(source)
    try:
        return str(path), path.name, path.read_bytes()
    except OSError:
        raise
    except ValueError as error:  # a NUL in the path
        raise TableError(f"{str(path)!r}: {error}") from None


def _decoded(label: str, content: bytes, notes: list[str]) -> str:
    for mark, encoding, title in _BOMS:
        if content.startswith(mark):
            try:
                return content.decode(encoding)
            except UnicodeDecodeError as error:
                # The decoder may have cut the mark off, so count in what it has seen.
                number = _line(error.object, error.start)
                raise TableError(f"{label}:{number}: not {title}, though marked so") from None
    if b"\0" in content:
        return _without_mark(label, content, notes)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        number, byte = _line(content, error.start), content[error.start]
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError as error:
        number, byte = _line(content, error.start), content[error.start]
        raise TableError(
            f"{label}:{number}: not UTF-8, and byte 0x{byte:02x} is not cp1252 either"
        ) from None
    notes.append(f"{label}:{number}: byte 0x{byte:02x} is not UTF-8; read as cp1252 (Windows)")
    return text


def _without_mark(label: str, content: bytes, notes: list[str]) -> str:
    # In UTF-16 every second byte of plain letters is 0.
    for encoding, high in (("utf-16-le", content[1::2]), ("utf-16-be", content[::2])):
        if high.count(0) > 0.7 * len(high) and not len(content) % 2:
            notes.append(f"{label}:1: every second byte is 0; read as UTF-16")
            return content.decode(encoding, "replace")
    number = _line(content, content.index(0))
    raise TableError(f"{label}:{number}: not text: there is a byte 0")


def _line(content: bytes, at: int) -> int:
    return content.count(b"\n", 0, at) + 1
