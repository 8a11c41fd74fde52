# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""Counts and outcomes from the cells of a table."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

# Counts are float64. Every integer up to here is exact.
LARGEST = 2**53

_SURELY_SMALL = len(str(LARGEST))

_MISSING = {"na", "n/a", "#n/a", "nan", "null", "none", "<na>", "nat", "."}
_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,4})?", re.IGNORECASE | re.ASCII)
_SPACED = re.compile(r"[+-]?\d{1,3}([ '’\u00a0\u2009\u202f]\d{3})+(\.0*)?", re.ASCII)
_COMMAS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.0*)?", re.ASCII)
_POINTS = re.compile(r"[+-]?\d{1,3}(\.\d{3}){2,}(,0*)?", re.ASCII)
_DOUBTFUL = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d*", re.ASCII)
_YES, _NO = {"1", "yes", "y", "true", "t"}, {"0", "no", "n", "false", "f"}


class CellError(ValueError):
    """What is wrong with a cell, without its place."""


def is_missing(value: Any) -> bool:
    """Whether a cell says that its value is not known; an empty cell does not."""
    if isinstance(value, str):
        return value.casefold() in _MISSING
    return value is None or str(value) in ("nan", "<NA>", "NaT")


def is_empty(value: Any) -> bool:
    """Whether a cell holds nothing."""
    return isinstance(value, str) and not value


def count(value: Any, name: str, separator: str = "") -> int:
    """A count from a cell.

    :param value: text, or a number.
    :param name: name of the column, for the message.
    :param separator: that of the file. If it is a comma, "61,000" has a comma for thousands.
    :raises CellError: if the value is no count, or if it could be two different ones.
    """
    if isinstance(value, str):
        if value.isdecimal() and value.isascii() and len(value) < _SURELY_SMALL:
            return int(value)
        number = _of_text(value, name, separator)
    else:
        number = _of_number(value, name)
    shown = f"{name} is {repr(value) if isinstance(value, str) else value}"
    if number != number.to_integral_value():
        raise CellError(
            f"{shown}, not an integer: sizes and drawn counts are numbers of elements. Amounts, "
            "such as weights, areas or shares, are no counts"
        )
    if number < 0:
        raise CellError(f"{shown}, which is negative")
    if number > LARGEST:
        raise CellError(f"{shown}, larger than {LARGEST}")
    return int(number)


def real(value: Any, name: str, separator: str = "") -> float:
    """A real number from a cell; "-inf" is one too.

    :param value: text, or a number.
    :param name: name of the column, for the message.
    :param separator: that of the file. If it is no comma, "1,5" has a decimal comma.
    :raises CellError: if the value is no number.
    """
    text = str(value)
    if _PLAIN.fullmatch(text) or text.casefold() == "-inf":
        return float(text)
    if _DECIMAL_COMMA.fullmatch(text) and separator != ",":
        return float(text.replace(",", "."))
    raise CellError(f"{name} is {repr(value) if isinstance(value, str) else value}, not a number")


def outcome(value: Any, name: str) -> bool:
    """Whether an element was drawn.

    :raises CellError: if the value is neither yes nor no.
    """
    if not isinstance(value, str):
        value = str(value).removesuffix(".0")
    text = value.casefold()
    if text in _YES or text in _NO:
        return text in _YES
    raise CellError(f"{name} is {value!r}; expected 0 or 1, yes or no, true or false")


def _of_number(value: Any, name: str) -> Decimal:
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise CellError(f"{name} is {value!r}, not an integer")
    number = Decimal(value)
    if not number.is_finite():
        raise CellError(f"{name} is {value!r}, not an integer")
    return number


def _of_text(text: str, name: str, separator: str) -> Decimal:
    if _SPACED.fullmatch(text):
        return Decimal(re.sub(r"[^\d+.-]", "", text))
    if _DOUBTFUL.fullmatch(text) and not ("," in text and separator == ","):
        joined = text.replace(",", "").replace(".", "")
        raise CellError(
            f"{name} is {text!r}, which may be {joined} or {text.replace(',', '.')}; "
            "write it without a mark for thousands"
        )
    if _COMMAS.fullmatch(text):
        return Decimal(text.replace(",", ""))
    if _POINTS.fullmatch(text):
        return Decimal(text.replace(".", "").replace(",", "."))
    if _PLAIN.fullmatch(text):
        return Decimal(text)
    if _DECIMAL_COMMA.fullmatch(text) and separator != ",":
        return Decimal(text.replace(",", "."))
    raise CellError(f"{name} is {text!r}, not an integer")
