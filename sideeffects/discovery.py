"""Discovery of the subscribers. A subscriber is a package in ``sideeffects/subscribers/`` whose ``subscriber.py`` declares it; nothing here names any of them."""

import functools
import importlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from django.apps import AppConfig, apps
from django.urls import URLPattern, URLResolver, include, path

from orders.events import Subscription

SUBSCRIBERS = "sideeffects.subscribers."


def packages() -> list[AppConfig]:
    """The installed packages of subscribers."""
    return [config for config in apps.get_app_configs() if config.name.startswith(SUBSCRIBERS)]


@functools.cache
def subscriptions() -> dict[str, Subscription]:
    """Every declared subscriber by name. Raises ImportError: a package has no ``subscriber.py``, or one that does not load."""
    found = [
        value.subscription
        for package in packages()
        for value in vars(importlib.import_module(f"{package.name}.subscriber")).values()
        if isinstance(getattr(value, "subscription", None), Subscription)
    ]
    return {subscription.name: subscription for subscription in sorted(found, key=lambda subscription: subscription.name)}


def names() -> list[str]:
    return list(subscriptions())


def types() -> dict[str, frozenset[str]]:
    """By subscriber, the types of events that it reacts to."""
    return {name: subscription.types for name, subscription in subscriptions().items()}


def wanting(type_: str) -> list[str]:
    """The subscribers that react to events of this type."""
    return [name for name, wanted in types().items() if type_ in wanted]


def functions(name: str) -> dict[str, Callable[..., Any]]:
    """By subscriber, the function of this name in its ``subscriber.py``. A subscriber that has none is left out."""
    found = {one.name: getattr(importlib.import_module(one.handler.__module__), name, None) for one in subscriptions().values()}
    return {subscriber: function for subscriber, function in found.items() if function is not None}


def urlpatterns() -> list[URLResolver | URLPattern]:
    """What the packages serve themselves, relative to ``/api/v1/``."""
    return [path("", include(f"{package.name}.urls")) for package in packages() if find_spec(f"{package.name}.urls")]
