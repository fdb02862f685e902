"""Operators who ask for a decision."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from fulfillment import recovery
from orders.models import Order, RefusedAttempt


@pytest.fixture(autouse=True)
def opened(request: pytest.FixtureRequest) -> None:
    """Whatever is decided about the order is decided about its saga."""
    if "order" in request.fixturenames:
        request.getfixturevalue("saga")


def note(order: Order) -> None:
    call_command("decide", order.number, "note", "--version", str(recovery.version_of(order.pk)), "--reason", "looked at")


def refused() -> list[tuple[str, str, str]]:
    return list(RefusedAttempt.objects.order_by("id").values_list("actor", "verb", "subject"))


@pytest.fixture
def amara(db: None, settings: Any) -> User:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one takes its time on purpose
    return User.objects.create_superuser("amara", password="right horse battery")
