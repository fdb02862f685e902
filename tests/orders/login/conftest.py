"""Operators before the door of the admin. Hashing is made cheap: how long it takes is nobody's promise here."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser

from orders.login.hashing import OneAtATimePBKDF2

LOGIN = "/admin/login/?next=/admin/"
RIGHT, WRONG = "right horse battery", "wrong horse battery"


@pytest.fixture(autouse=True)
def cheap_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OneAtATimePBKDF2, "iterations", 1)


@pytest.fixture
def amara(db: None) -> User:
    return User.objects.create_superuser("amara", password=RIGHT)


def log_in(password: str = RIGHT, name: str = "amara", browser: Browser | None = None, **more: Any) -> Any:
    """``address``: where from."""
    address = more.pop("address", "192.0.2.1")
    form = {"username": name, "password": password} | more.pop("also", {})
    headers = {"Accept": "text/html"} | more.pop("headers", {})
    return (browser or Browser()).post(LOGIN, form, headers=headers, REMOTE_ADDR=address, **more)
