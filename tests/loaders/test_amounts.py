"""Exact decimals, held against fractions of integers."""

from __future__ import annotations

import random
import re
from decimal import Context, Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from loaders.amounts import (
    MAX_DECIMALS,
    is_sane,
    parse_plain,
    plain,
    product_rounded,
    ratio_rounded,
    raw,
    scaled_rounded,
    total,
    whole,
)

PLACES = 10**18

integers_256 = st.integers(0, 2**256 - 1)
scales = st.integers(0, MAX_DECIMALS)
# Whatever an amount, a price or a value may be: up to 256 bits at any scale, either sign.
WIDE = Context(prec=2_000)
numbers = st.builds(
    lambda digits, scale: Decimal(digits).scaleb(-scale, WIDE), st.integers(-(2**256), 2**256), scales
)
positive = numbers.map(lambda number: number.copy_abs()).filter(bool)


def half_even(number: Fraction) -> Fraction:
    """The number rounded half-even to 18 places, by integers alone."""
    quotient, remainder = divmod(number.numerator * PLACES, number.denominator)
    doubled = 2 * remainder
    up = doubled > number.denominator or (doubled == number.denominator and quotient % 2 == 1)
    return Fraction(quotient + up, PLACES)


# Text


@given(numbers)
@example(Decimal("-0"))
@example(Decimal("-0.000"))
@example(Decimal("0E+5"))
@example(Decimal("0E-5"))
@example(Decimal("1E+5"))
@example(Decimal("1E-18"))
@example(Decimal("100"))
@example(Decimal("1.500"))
@example(Decimal("-1.500"))
def test_plain_shows_no_exponent_no_trailing_zeros_and_no_negative_zero(number: Decimal) -> None:
    text = plain(number)
    assert re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?", text)
    assert text != "-0"


@given(numbers)
def test_plain_text_read_again_is_the_same_number(number: Decimal) -> None:
    assert Fraction(parse_plain(plain(number))) == Fraction(number)
    assert plain(parse_plain(plain(number))) == plain(number)


@given(numbers, st.integers(0, 50))
def test_equal_numbers_have_one_text_whatever_their_trailing_zeros(number: Decimal, zeros: int) -> None:
    longer = number.quantize(Decimal(1).scaleb(int(number.as_tuple().exponent) - zeros), context=WIDE)
    assert plain(longer) == plain(number)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("5", "5"),
        ("05", "5"),
        ("-0", "0"),
        ("0.000", "0"),
        ("12.500000000000000000", "12.5"),
        ("0.000000000000000001", "0.000000000000000001"),
        ("100", "100"),
        ("9" * 400 + "." + "9" * 400, "9" * 400 + "." + "9" * 400),
    ],
)
def test_a_plain_number_is_read_digit_by_digit(text: str, shown: str) -> None:
    assert plain(parse_plain(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+5",
        "--5",
        "1e5",
        "1E-7",
        ".5",
        "5.",
        "1.2.3",
        "1,5",
        "1_000",
        " 1",
        "1 ",
        "1\n",
        "0x10",
        "NaN",
        "Infinity",
        "-Infinity",
        "٣",
        "½",
        "1" * 401,
        "0." + "1" * 401,
    ],
)
def test_what_is_no_plain_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="base-10"):
        parse_plain(text)


@given(st.text())
def test_any_text_is_a_plain_number_or_refused(text: str) -> None:
    try:
        number = parse_plain(text)
    except ValueError:
        return
    assert number.is_finite()


@pytest.mark.parametrize(
    "text", ["NaN", "sNaN", "Infinity", "-Infinity", "1E+121", "1E-121", "1E+999999", "1E-999999"]
)
def test_what_no_amount_or_price_can_be_is_not_sane(text: str) -> None:
    assert not is_sane(Decimal(text))


@pytest.mark.parametrize("text", ["0", "1E+120", "1E-120", "4.383338999999999", str(2**256)])
def test_whatever_amounts_and_prices_are_is_sane(text: str) -> None:
    assert is_sane(Decimal(text))


# Scale


@given(integers_256, scales)
@example(2**256 - 1, 255)
@example(2**64 - 1, 9)
@example(0, 255)
@example(10**77, 0)
def test_whole_and_raw_are_each_other_s_inverse(units: int, decimals: int) -> None:
    amount = whole(units, decimals)
    assert Fraction(amount) == Fraction(units, 10**decimals)
    assert raw(amount, decimals) == units


@given(integers_256, scales, st.integers(0, 60))
def test_raw_does_not_depend_on_trailing_zeros(units: int, decimals: int, zeros: int) -> None:
    text = plain(whole(units, decimals))
    padded = (text if "." in text else text + ".0") + "0" * zeros
    assert raw(Decimal(padded), decimals) == units


@given(integers_256, scales, scales)
def test_raw_is_none_exactly_when_the_amount_is_finer_than_the_scale(units: int, finer: int, decimals: int) -> None:
    exact = Fraction(units, 10**finer) * 10**decimals
    assert raw(whole(units, finer), decimals) == (exact.numerator if exact.denominator == 1 else None)


# Sums


@given(st.lists(numbers, max_size=30), st.integers())
def test_a_total_is_exact_and_does_not_depend_on_the_order(addends: list[Decimal], seed: int) -> None:
    shuffled = random.Random(seed).sample(addends, len(addends))
    assert Fraction(total(addends)) == sum(map(Fraction, addends), Fraction(0))
    assert plain(total(shuffled)) == plain(total(addends))


@given(st.lists(numbers, max_size=12), st.integers(0, 12))
def test_a_total_of_totals_is_the_total(addends: list[Decimal], cut: int) -> None:
    parts = [total(addends[:cut]), total(addends[cut:])]
    assert plain(total(parts)) == plain(total(addends))


def test_the_total_of_nothing_is_0() -> None:
    assert plain(total([])) == "0"


def test_a_total_has_none_of_the_noise_of_doubles() -> None:
    assert plain(total(map(Decimal, ["0.1", "0.2", "4.383338999999999"]))) == "4.683338999999999"
    assert plain(total([Decimal(10**60), Decimal("1E-60"), Decimal(-(10**60))])) == "0." + "0" * 59 + "1"


# Rounding


@given(numbers, numbers)
@example(Decimal("0.000000000000000001"), Decimal("2.5"))
@example(Decimal("0.000000000000000001"), Decimal("3.5"))
@example(Decimal("-0.000000000000000001"), Decimal("2.5"))
@example(Decimal("-0.000000000000000001"), Decimal("0.5"))
def test_a_product_is_rounded_half_even_to_18_places(first: Decimal, second: Decimal) -> None:
    assert Fraction(product_rounded(first, second)) == half_even(Fraction(first) * Fraction(second))


@given(st.integers(0, 10**30), st.integers(0, 10**30), st.integers(0, 9), st.integers(0, 9))
def test_a_product_of_at_most_18_places_is_exact(first: int, second: int, one: int, other: int) -> None:
    product = product_rounded(whole(first, one), whole(second, other))
    assert Fraction(product) == Fraction(first * second, 10 ** (one + other))


@given(numbers, positive)
@example(Decimal(1), Decimal(3))
@example(Decimal(2), Decimal(3))
@example(Decimal("0.0000000000000000025"), Decimal(1))
@example(Decimal("0.0000000000000000035"), Decimal(1))
def test_a_ratio_is_rounded_half_even_to_18_places(numerator: Decimal, denominator: Decimal) -> None:
    ratio = ratio_rounded(numerator, denominator)
    assert Fraction(ratio) == half_even(Fraction(numerator) / Fraction(denominator))


@given(numbers, numbers, positive)
@example(Decimal("5.01"), Decimal("0.000001"), Decimal(5))
@example(Decimal(1), Decimal(1), Decimal(3))
@example(Decimal("0.000000000000000001"), Decimal(5), Decimal(2))
@example(Decimal("0.000000000000000001"), Decimal(7), Decimal(2))
def test_a_value_for_another_amount_is_rounded_once_half_even_to_18_places(
    value: Decimal, amount: Decimal, of: Decimal
) -> None:
    scaled = scaled_rounded(value, amount, of)
    assert Fraction(scaled) == half_even(Fraction(value) * Fraction(amount) / Fraction(of))


@given(numbers, positive)
def test_a_value_for_the_same_amount_is_the_value_to_18_places(value: Decimal, amount: Decimal) -> None:
    assert Fraction(scaled_rounded(value, amount, amount)) == half_even(Fraction(value))


@given(st.lists(positive, min_size=1, max_size=20))
def test_shares_of_a_total_are_between_0_and_1_and_add_up_but_for_their_last_place(values: list[Decimal]) -> None:
    whole_value = total(values)
    shares = [ratio_rounded(value, whole_value) for value in values]
    assert all(0 <= share <= 1 for share in shares)
    assert abs(total(shares) - 1) <= Decimal(len(values)).scaleb(-18)


@given(numbers, numbers)
def test_what_is_rounded_shows_at_most_18_places(first: Decimal, second: Decimal) -> None:
    assume(second)
    for number in (
        product_rounded(first, second),
        ratio_rounded(first, second),
        scaled_rounded(first, first, second),
    ):
        assert len(plain(number).partition(".")[2]) <= 18
