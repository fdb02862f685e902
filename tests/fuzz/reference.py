"""Requests that are generated from the reference, with every check of schemathesis: each phase, and the links that lead from one answer to the next request."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import schemathesis
from schemathesis.engine import events, from_schema

PHASES = ("examples", "coverage", "fuzzing", "stateful")

# What no schema can say: an order is well written, and the shop does not sell it, or does not deliver there; a cursor is none of ours. Each refusal names its rule.
RULES = frozenset(
    (
        *("unknown_sku", "no_stock_level", "duplicate_sku", "foreign_currency", "total_too_large", "test_value"),
        *("duplicate_parameter", "empty_range"),
        *("unknown_country", "unknown_state", "invalid_postal_code", "card_number", "control_character", "invisible"),
        *("null_characters_not_allowed", "surrogate_characters_not_allowed"),
    )
)
RULES_OF_A_FIELD = frozenset(
    (
        *("/customer/email invalid", "/customer_email invalid", "/cursor invalid"),
        *("/lines/n/quantity invalid", "/expected_total_minor invalid"),  # 2.0 is an integer to JSON Schema, and to us it is none
        *("/shipping_address/city required", "/shipping_address/state required", "/shipping_address/postal_code required"),
    )
)
ACCEPTED = ["2xx", "400", "401", "403", "404", "409", "422", "429", "5xx"]  # 400: only by a rule, see below


@dataclass(frozen=True)
class Told:
    """After each scenario: how many requests it was, and what was wrong."""

    requests: int
    failures: list[str]


def fuzz(url: str, authorization: str, seed: int, examples: int, phases: Sequence[str] = PHASES) -> Iterator[Told]:
    """``examples``: generated requests of each operation and phase."""
    config = schemathesis.Config.from_dict(_settings(authorization, seed, examples, phases))
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            yield Told(len(event.recorder.interactions), list(_failures(event)))
        elif isinstance(event, events.NonFatalError):
            yield Told(0, [f"{event.label}: {event.value}"])
        elif isinstance(event, events.FatalError):
            raise event.exception


def _settings(authorization: str, seed: int, examples: int, phases: Sequence[str]) -> dict[str, Any]:
    return {
        "seed": seed,
        "headers": {"Authorization": authorization},
        "generation": {"max-examples": examples},
        "phases": {phase: {"enabled": phase in phases} for phase in PHASES},
        "checks": {"positive_data_acceptance": {"expected-statuses": ACCEPTED}},
    }


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
