"""Wrong wiring is refused at start-up: the order of the limits, the order of the steps, gateways that nobody wrote."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from fulfillment.gateways import carrier, payments
from fulfillment.step import Kind, Step
from fulfillment.steps import STEPS

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
def gateways_exist(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    wrong: list[CheckMessage] = []
    for find in (payments, carrier):
        try:
            find()
        except ImproperlyConfigured as unknown:
            wrong.append(Error(str(unknown), id="fulfillment.E004"))
    return wrong
