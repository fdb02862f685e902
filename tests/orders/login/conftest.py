"""Operators before the door of the admin."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser

LOGIN = "/admin/login/?next=/admin/"
RIGHT, WRONG = "right horse battery", "wrong horse battery"


@pytest.fixture(autouse=True)
def cheap(cheap_hashing: None) -> None:
    """Of every password here."""


@pytest.fixture
def amara(db: None) -> User:
    return User.objects.create_superuser("amara", password=RIGHT)


def log_in(password: str = RIGHT, name: str = "amara", browser: Browser | None = None, **more: Any) -> Any:
    """``address``: where from."""
    address = more.pop("address", "192.0.2.1")
    form = {"username": name, "password": password} | more.pop("also", {})
    headers = {"Accept": "text/html"} | more.pop("headers", {})
    return (browser or Browser()).post(LOGIN, form, headers=headers, REMOTE_ADDR=address, **more)
