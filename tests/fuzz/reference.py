"""Requests that are generated from the reference, with every check of schemathesis: each phase, and the links that lead from one answer to the next request."""

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import NamedTemporaryFile
from typing import Any

import schemathesis
from schemathesis.engine import events, from_schema

from tests.fuzz.figures import Told
from tests.fuzz.server import Shop

PHASES = ("examples", "coverage", "fuzzing", "stateful")

# What no schema can say: an order is well written, and the shop does not sell it, or does not deliver there; a cursor is none of ours. Each refusal names its rule.
RULES = frozenset(
    (
        *("unknown_sku", "no_stock_level", "duplicate_sku", "foreign_currency", "total_too_large", "test_value"),
        *("duplicate_parameter", "empty_range"),
        *("unknown_country", "unknown_state", "invalid_postal_code", "card_number", "control_character", "invisible"),
        *("null_characters_not_allowed", "surrogate_characters_not_allowed"),
        "blank",  # spaces alone: those around a text do not count
    )
)
RULES_OF_A_FIELD = frozenset(
    (
        *("/customer/email invalid", "/customer_email invalid", "/cursor invalid"),
        *("/lines/n/quantity invalid", "/expected_total_minor invalid"),  # 2.0 is an integer to JSON Schema, and to us it is none
        *("/shipping_address/city required", "/shipping_address/state required", "/shipping_address/postal_code required"),
    )
)
ACCEPTED = ["2xx", "304", "400", "401", "403", "404", "409", "422", "429", "5xx"]  # 400: only by a rule, see below


MOST_S = 60  # for an answer, also on a machine that does much else
EXAMPLES = 100  # of each operation and phase, in a round of one caller


@dataclass(frozen=True)
class Caller:
    """Whose requests they are. Without a ``token``: a stranger's. ``other``: the token of a client who may not see what this one has placed."""

    name: str
    token: str = ""
    other: str = ""


def callers(shop: Shop) -> list[Caller]:
    """Whoever may do everything, a stranger, and one for each scope."""
    one_scope = [Caller(scope, shop.token_of(f"only-{scope.replace(':', '-')}", scope)) for scope in shop.scopes()]
    return [Caller("every scope", shop.token, shop.token_of("other-shop")), Caller("no token"), *one_scope]


def rounds(url: str, callers: Sequence[Caller], seed: int) -> Iterator[Iterator[Told]]:
    """Without an end; each round is one of all callers, and the same seed sends the same requests."""
    for round_seed in itertools.count(seed):
        yield itertools.chain.from_iterable(fuzz(url, caller, round_seed, EXAMPLES) for caller in callers)


def fuzz(url: str, caller: Caller, seed: int, examples: int, phases: Sequence[str] = PHASES) -> Iterator[Told]:
    """``examples``: generated requests of each operation and phase."""
    with _identities(caller) as authentication:
        config = schemathesis.Config.from_dict(_settings(authentication, seed, examples, phases))
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)
        for event in from_schema(schema).execute():
            if isinstance(event, events.ScenarioFinished):
                yield Told(_statuses(event), [f"{caller.name}, seed {seed}: {failure}" for failure in _failures(event)])
            elif isinstance(event, events.NonFatalError):
                yield Told(Counter(), [f"{caller.name}, seed {seed}: {event.label}: {event.value}"])
            elif isinstance(event, events.FatalError):
                raise event.exception


@contextmanager
def _identities(caller: Caller) -> Iterator[dict[str, Any]]:
    """schemathesis reads who there is from a file. It asks for whatever the first one may see as the other one, too."""
    tokens = {name: token for name, token in {"caller": caller.token, "other": caller.other}.items() if token}
    if not tokens:
        yield {}
        return
    entries = [{"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {token}"}]} for name, token in tokens.items()]
    with NamedTemporaryFile("w", suffix=".json") as file:
        file.write(json.dumps({"auth": entries}))
        file.flush()
        peers = {"peers": list(tokens)} if caller.other else {}
        yield {"auth": {"wfc": {"path": file.name, "user": "caller"} | peers}}


def _settings(authentication: dict[str, Any], seed: int, examples: int, phases: Sequence[str]) -> dict[str, Any]:
    """All checks are on: they are, unless they are switched off; an answer's time needs a limit."""
    return authentication | {
        "seed": seed,
        "generation": {"max-examples": examples},
        "phases": {phase: {"enabled": phase in phases} for phase in PHASES},
        "checks": {"positive_data_acceptance": {"expected-statuses": ACCEPTED}, "max_response_time": MOST_S},
    }


def _statuses(event: events.ScenarioFinished) -> Counter[str]:
    """What was sent and not answered has none: it is no request, and a failure of its own."""
    answers = (interaction.response for interaction in event.recorder.interactions.values())
    return Counter(str(answer.status_code) for answer in answers if answer is not None)


def _failures(event: events.ScenarioFinished) -> Iterator[str]:
    for checks in event.recorder.checks.values():
        for check in checks:
            if check.failure_info is not None:
                yield f"{event.recorder.label}: {check.name}: {check.failure_info.failure}\n{check.failure_info.code_sample}"


@schemathesis.check
def refused_by_a_rule_alone(ctx: schemathesis.CheckContext, response: schemathesis.Response, case: "schemathesis.Case[Any]") -> None:
    """What the reference allows is refused only by a rule that no schema can say."""
    if response.status_code != 400 or not _is_valid(case):
        return
    document = response.json()
    for error in document.get("errors") or [{"pointer": "", "code": document["code"], "detail": document["detail"]}]:
        told = f"{re.sub(r'/[0-9]+', '/n', error['pointer'])} {error['code']}"
        assert error["code"] in RULES or told in RULES_OF_A_FIELD, f"allowed by the reference, and refused: {told}: {error['detail']}"


def _is_valid(case: "schemathesis.Case[Any]") -> bool:
    return case.meta is not None and case.meta.generation.mode is schemathesis.GenerationMode.POSITIVE
