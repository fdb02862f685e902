"""System checks: every package of a subscriber is complete."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from orders.events import EVENTS
from sideeffects.discovery import packages, subscriptions


@register()
def packages_are_complete(app_configs: object, **_: Any) -> Iterator[CheckMessage]:
    """An error for a folder that Django does not see, a package that does not declare one subscriber, or tables that no migration makes."""
    folders = sorted(
        folder.name for folder in settings.SUBSCRIBERS_DIR.iterdir() if folder.is_dir() and not folder.name.startswith(("_", "."))
    )
    for name in folders:
        if not (settings.SUBSCRIBERS_DIR / name / "apps.py").exists():
            yield Error(f"sideeffects/subscribers/{name}/ has no apps.py.", hint="Copy one from a neighbour.", id="sideeffects.E001")
    for package in packages():
        declared = [s for s in subscriptions().values() if s.handler.__module__.startswith(package.name)]
        if len(declared) != 1:
            yield Error(
                f"{package.name} declares {len(declared)} subscribers, not one.", hint="@subscriber(OrderFulfilled)", id="sideeffects.E002"
            )
        yield from (
            Error(
                f"{one.name} reacts to no event, or to one that the catalogue does not have.",
                hint="@subscriber(OrderFulfilled), or several; docs/events.md lists them.",
                id="sideeffects.E004",
            )
            for one in declared
            if not one.events or not set(one.events) <= set(EVENTS)
        )
        if package.models and not find_spec(f"{package.name}.migrations"):
            yield Error(
                f"{package.name} has models and no migrations package.",
                hint=f"manage.py makemigrations {package.label}",
                id="sideeffects.E003",
            )
