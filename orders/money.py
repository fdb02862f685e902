"""What an amount is. Everywhere it is integer minor units and an ISO currency; here is how many of them are a whole unit, how it is shown and written, and its
bound.
"""

import re
from copy import copy
from decimal import Decimal

from babel import Locale
from babel.numbers import get_currency_symbol

LOCALE = Locale.parse("en_GB")

# Of one order. Every column holds it (bigint), a JSON number is exact up to it (2^53), and banks take no longer field (ISO 8583: twelve digits).
MAX_TOTAL_MINOR = 999_999_999_999

# Source: ISO 4217, list one, "minor unit". CLDR's digits are a custom of showing, not of paying: it shows the dinars of Iraq without any, and banks count three.
USUAL_EXPONENT = 2
UNUSUAL = {
    0: ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"),
    3: ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"),
    4: ("CLF", "UYW"),
}
EXPONENTS = {currency: places for places, currencies in UNUSUAL.items() for currency in currencies}


def exponent(currency: str) -> int:
    """How many decimal places a whole unit has in minor units: 2 for EUR, 0 for JPY, 3 for KWD."""
    return EXPONENTS.get(currency, USUAL_EXPONENT)


def minor_per_unit(currency: str) -> int:
    """100 for EUR, 1 for JPY, 1000 for KWD."""
    return int(10 ** exponent(currency))


def whole_units(minor: int, currency: str) -> int:
    """The whole units in an amount that is not negative: 84 in 8420 and EUR."""
    return minor // minor_per_unit(currency)


def whole_units_sql(minor: str, currency: str) -> str:
    """The same in SQL, of two expressions: a bigint and a text."""
    unusual = " ".join(f"WHEN '{code}' THEN {minor_per_unit(code)}" for code in EXPONENTS)
    return f"({minor}) / (CASE {currency} {unusual} ELSE {10**USUAL_EXPONENT} END)"


def money(minor: int, currency: str) -> str:
    """€84.20 from 8420 and EUR."""
    places = exponent(currency)
    pattern = copy(LOCALE.currency_formats["standard"])
    pattern.frac_prec = (places, places)
    return str(pattern.apply(Decimal(minor).scaleb(-places), LOCALE, currency=currency, currency_digits=False))


def written(minor: int, currency: str) -> str:
    """What a person writes for it: 84.20 from 8420 and EUR, 8420 from 8420 and JPY."""
    return f"{Decimal(minor).scaleb(-exponent(currency)):f}"


class NotAnAmount(ValueError):
    """What was written is no amount of the currency, or could be another one. The sentence says how to write it."""


LONGEST = 40  # characters
DIGITS = "[0-9]+|[1-9][0-9]{0,2}(?:,[0-9]{3})+"  # Source: the shop's locale; 1,890 is a group of thousands


def minor_of(text: str, currency: str) -> int:
    """8420 from "84.20" and EUR: what ``written`` and ``money`` make of it, and nothing else.

    Every decimal place is written. So neither a comma, nor a point that is left out, nor a person who thinks in minor units makes another amount of it. Raises
    NotAnAmount.
    """
    places = exponent(currency)
    fraction = rf"\.(?P<fraction>[0-9]{{{places}}})" if places else ""
    digits = _without_currency(text, currency) if len(text) <= LONGEST else ""
    found = re.fullmatch(f"(?P<whole>{DIGITS}){fraction}", digits)
    if found is None:
        raise NotAnAmount(_how_to_write(currency))
    return int("".join(found.groupdict().values()).replace(",", ""))


def _without_currency(text: str, currency: str) -> str:
    for sign in (currency, get_currency_symbol(currency, LOCALE)):
        text = text.strip().removeprefix(sign)
    return text.strip()


def _how_to_write(currency: str) -> str:
    places, example = exponent(currency), 1_890 * minor_per_unit(currency)
    how = f"with a point and {places} digits after it" if places else "in digits alone"
    return f"Write an amount in {currency} {how}: {written(example, currency)} is {money(example, currency)}."
