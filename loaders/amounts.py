"""Exact decimals: no operation here rounds, unless its name says so."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation

# 256-bit integers have 78 digits and a mint may claim 255 decimals; anything that does not fit raises.
_EXACT = Context(prec=1_000, Emax=999_999, Emin=-999_999, traps=[Inexact, InvalidOperation])
_ROUNDING = Context(prec=1_000, Emax=999_999, Emin=-999_999, traps=[InvalidOperation])
_PLACES = Decimal(1).scaleb(-18)

MAX_DECIMALS = 255
_MAX_MAGNITUDE = 120
_PLAIN = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?")
ZERO = Decimal(0)


def plain(number: Decimal) -> str:
    """The number as text without exponent, trailing zeros or negative zero."""
    text = str(number)
    if text[-1] != "0" and "E" not in text:
        return text
    if "E" in text:
        text = format(number, "f")
    if text[-1] == "0" and "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def parse_plain(text: str) -> Decimal:
    """Reads a base-10 number without exponent, of at most 400 places on either side; raises ValueError."""
    if not _PLAIN.fullmatch(text):
        raise ValueError("expected a base-10 number without exponent, as text or integer")
    return Decimal(text)


def is_sane(number: Decimal) -> bool:
    """Whether the number is finite and of a magnitude that amounts and prices can have."""
    if number.is_finite() and -60 <= number.adjusted() <= 60 and len(str(number)) <= 60:
        return True  # as nearly all are; taking a number apart costs more
    exponent = number.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -_MAX_MAGNITUDE and number.adjusted() <= _MAX_MAGNITUDE


def whole(raw: int, decimals: int) -> Decimal:
    """Whole tokens of an integer number of smallest units."""
    return _EXACT.scaleb(raw, -decimals)


def raw(amount: Decimal, decimals: int) -> int | None:
    """Smallest units of an amount of whole tokens; None when that is no integer."""
    scaled = amount.scaleb(decimals, _EXACT)
    integer = int(scaled)
    return integer if integer == scaled else None


def total(numbers: Iterable[Decimal]) -> Decimal:
    """The exact sum."""
    result = ZERO
    for number in numbers:
        result = _EXACT.add(result, number)
    return result


def product_rounded(first: Decimal, second: Decimal) -> Decimal:
    """First × second, rounded half-even to 18 places where it has more."""
    product = _EXACT.multiply(first, second)
    exponent = product.as_tuple().exponent
    return product.quantize(_PLACES, ROUND_HALF_EVEN, _ROUNDING) if int(exponent) < -18 else product


def ratio_rounded(numerator: Decimal, denominator: Decimal) -> Decimal:
    """Numerator ÷ denominator, rounded half-even to 18 places."""
    over, under = numerator.as_integer_ratio()
    under_over, under_under = denominator.as_integer_ratio()
    over, under = over * under_under * 10**18, under * under_over
    if under < 0:
        over, under = -over, -under
    quotient, rest = divmod(over, under)
    if 2 * rest > under or (2 * rest == under and quotient % 2):  # half goes to even
        quotient += 1
    return _EXACT.scaleb(quotient, -18)


def scaled_rounded(value: Decimal, amount: Decimal, of: Decimal) -> Decimal:
    """Value × amount ÷ of, rounded half-even to 18 places."""
    return ratio_rounded(_EXACT.multiply(value, amount), of)
