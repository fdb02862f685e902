"""Checks: wrong wiring is refused at start-up. Limits and steps stand in order, and every gateway that is named exists."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError

from fulfillment import plans
from fulfillment.capabilities import Capabilities
from fulfillment.code_release import RELEASE
from fulfillment.gateways import ROLES, capabilities_of, carrier, chosen, payments
from fulfillment.step import Kind, Step
from fulfillment.steps import STEPS

UNDER_A_LEASE = ("worker", "sweep", "relay")
LIMITS = ("CALL_DEADLINE_S", "TASK_SOFT_LIMIT_S", "TASK_HARD_LIMIT_S", "LEASE_S")


@register()
def limits_stand_in_order(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """A call must end before its task is cut, a task before its lease ends, a lease long before the provider forgets the key."""
    limits = [(name, float(getattr(settings, name))) for name in LIMITS] + [("a tenth of KEY_WINDOW_S", settings.KEY_WINDOW_S / 10)]
    return [
        Error(
            f"{shorter} ({short:g} s) must be less than {longer} ({long:g} s).", hint="See docs/design.md, limits.", id="fulfillment.E001"
        )
        for (shorter, short), (longer, long) in itertools.pairwise(limits)
        if short >= long
    ]


@register()
def sessions_stand_in_order(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Under a lease, waiting for a lock ends before the statement does, and an idle transaction ends before the lease does."""
    return list(wrong_limits(settings.SESSION_LIMITS_S, settings.LEASE_S))


def wrong_limits(sessions: Mapping[str, Mapping[str, float]], lease_s: float) -> Iterable[CheckMessage]:
    for role in UNDER_A_LEASE:
        lock, statement, idle = (
            sessions[role][name] for name in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
        )
        if not 0 < lock < statement < lease_s or not 0 < idle < lease_s:
            yield Error(
                f"The database's limits of a {role} must be lock_timeout ({lock:g} s) < statement_timeout ({statement:g} s) < LEASE_S ({lease_s:g} s), "
                f"and idle_in_transaction_session_timeout ({idle:g} s) < LEASE_S.",
                hint="A larger TIME_SCALE or LEASE_S; see docs/design.md, limits.",
                id="fulfillment.E009",
            )


@register()
def steps_stand_in_order(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    return list(wrong_order(STEPS))


def wrong_order(steps: Sequence[Step]) -> Iterable[CheckMessage]:
    """After the pivot only retriable steps; names are unique, because tasks, keys and records are named after them."""
    names = [step.name for step in steps]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Error(f"Two steps are named {name!r}.", id="fulfillment.E002")
    after_pivot = list(itertools.dropwhile(lambda step: step.kind is not Kind.PIVOT, steps))[1:]
    for step in after_pivot:
        if step.kind is not Kind.RETRIABLE:
            yield Error(
                f"Step {step.name!r} stands after the pivot and is not retriable.", hint="Move it before the pivot.", id="fulfillment.E003"
            )


@register()
def events_can_be_built(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    return list(wrong_events(STEPS))


def wrong_events(steps: Sequence[Step]) -> Iterable[CheckMessage]:
    """A field that an event must have is always known: else an outcome could not be recorded, because its event lacks what a receipt does not say."""
    for step in steps:
        money = {"amount_minor"} if type(step).asks_minor is not Step.asks_minor else set()
        declared = vars(step.events)
        known = {"succeeded": money, "failed": {"code"}, "compensation_requested": set(), "compensated": money}
        for about, event in declared.items():
            if event is None:
                continue
            required = {field.name for field in fields(event) if field.default is MISSING}
            for name in sorted(required - known[about] - {"number", "currency", "attempt", "by_hand"}):
                yield Error(
                    f"Step {step.name!r}: {event.type} must have {name}, and a receipt need not say it.",
                    hint=f"Give {name} a default in {event.__name__}.",
                    id="fulfillment.E011",
                )


@register()
def keys_outlive_leases(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """A tenth of a provider's key window is enough for many tries under one key."""
    return [
        Error(
            f"The lease ({settings.LEASE_S:g} s) must be less than a tenth of the key window of {role} gateway {name!r} ({capabilities.key_window_s:g} s).",
            hint="See docs/design.md, limits.",
            id="fulfillment.E005",
        )
        for role, name, capabilities in _chosen_capabilities()
        if capabilities.has_keys and capabilities.key_window_s / 10 <= settings.LEASE_S
    ]


def _chosen_capabilities() -> Iterable[tuple[str, str, Capabilities]]:
    for role in sorted({step.role for step in STEPS if step.role}):
        try:
            yield role, chosen(role), capabilities_of(role, chosen(role))
        except ImproperlyConfigured:
            continue  # another check says so


@register()
def roles_exist(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """A step whose role no gateway has would fail at its first call."""
    return [
        Error(
            f"Step {step.name!r} calls {step.role!r}, and there is no such role.",
            hint=f"Roles: {', '.join(ROLES)}.",
            id="fulfillment.E006",
        )
        for step in STEPS
        if step.role and step.role not in ROLES
    ]


@register()
def crash_points_are_for_tests(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if settings.CRASH_POINTS is None or settings.DEMO_VALUES:
        return []
    return [
        Error(
            "CRASH_POINTS is set, and this is no demo: processes would kill themselves on purpose.",
            hint="Unset CRASH_POINTS; tests and proofs set DEMO_VALUES=1 as well.",
            id="fulfillment.E007",
        )
    ]


@register(Tags.database, deploy=True)
def open_sagas_are_served(app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """``manage.py check --deploy --database default``: no open saga needs a step that this code lacks."""
    if not databases:
        return []
    try:
        stranded = plans.stranded()
    except DatabaseError:
        return []  # there are no tables yet, or no database: other checks say so
    return [Error(plans.describe(stranded), hint=plans.HINT, id="fulfillment.E008")] if stranded else []


@register(Tags.database, deploy=True)
def release_was_raised(app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """``manage.py check --deploy --database default``: changed steps need a higher release. Else old and new code could not tell whose an order is."""
    if not databases:
        return []
    try:
        changed = plans.changed_since_release()
    except DatabaseError:
        return []
    message = f"The steps have changed, and RELEASE is still {RELEASE}: {changed}."
    hint = "Raise RELEASE in fulfillment/code_release.py with every deploy that changes the steps."
    return [Error(message, hint=hint, id="fulfillment.E010")] if changed else []


@register()
def gateways_exist(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    wrong: list[CheckMessage] = []
    for find in (payments, carrier):
        try:
            find()
        except ImproperlyConfigured as unknown:
            wrong.append(Error(str(unknown), id="fulfillment.E004"))
    return wrong
