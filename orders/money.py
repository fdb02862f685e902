"""Amounts for people. Everywhere else money is integer minor units and an ISO currency."""

from decimal import Decimal

from babel.numbers import format_currency, get_currency_precision

LOCALE = "en_GB"


def money(minor: int, currency: str) -> str:
    """€84.20 from 8420 and EUR."""
    return format_currency(Decimal(minor).scaleb(-get_currency_precision(currency)), currency, locale=LOCALE)
