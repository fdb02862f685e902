"""What an amount is. Everywhere it is integer minor units and an ISO currency; here is how many of them are a whole unit, how it is shown, and its bound."""

from copy import copy
from decimal import Decimal

from babel import Locale

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
