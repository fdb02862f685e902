"""What every test may use; the stack itself stands in ``tests/engines.py``, a plugin, because settings are read before any conftest."""

import random
import signal
from collections.abc import Iterator
from typing import Any, Protocol

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import TransactionTestCase
from whitenoise.middleware import WhiteNoiseMiddleware

from fulfillment import keys
from orders import operators, soft_limit
from orders.login.hashing import OneAtATimePBKDF2
from tests.emptying import empty
from tests.engines import migrated
from tests.shop_clock import LIMITS_S, ShopClock


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that use the session's stack last: it costs an eighth of a core even where nobody asks anything of it. Among more processes: ``tests/spread.py``."""
    with_stack = {item.path for item in items if "stack" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path in with_stack)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """The test's database is a copy of one that is migrated already (by the name that pytest-django asks for)."""
    connection.settings_dict["TEST"]["TEMPLATE"] = migrated()


@pytest.fixture(autouse=True, scope="session")
def only_what_is_filled_is_emptied() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty)
        yield


@pytest.fixture(autouse=True, scope="session")
def static_files_are_listed_once() -> Iterator[None]:
    """A browser of a test has a server of its own, which would look at each of two hundred files: that takes longer than a page."""
    found: dict[str, Any] = {}
    list_them = WhiteNoiseMiddleware.add_files_from_finders

    def add_known(self: WhiteNoiseMiddleware) -> None:
        if not found:
            list_them(self)
            found.update(self.files)
        self.files.update(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", add_known)
        yield


@pytest.fixture(autouse=True)
def one_nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key of a test can be written down beforehand."""
    monkeypatch.setattr(keys, "new_nonce", lambda: "testsnonce")


@pytest.fixture
def cheap_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password costs nothing, where how long its hash takes is not what is tested."""
    monkeypatch.setattr(OneAtATimePBKDF2, "iterations", 1)


class SignIn(Protocol):
    """``sign_in("amara")``: the commands that follow are this operator's. Without ``permissions``: whatever there is may be done."""

    def __call__(self, name: str = "amara", *permissions: str) -> User: ...


@pytest.fixture
def sign_in(db: None, settings: Any) -> SignIn:
    def by_token(name: str = "amara", *permissions: str) -> User:
        user, is_new = User.objects.get_or_create(username=name, defaults={"is_staff": True, "is_superuser": not permissions})
        if is_new:
            user.user_permissions.add(*Permission.objects.filter(codename__in=permissions))
        settings.OPERATOR_TOKEN = operators.issue(user)
        return user

    return by_token


@pytest.fixture
def clock(db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ShopClock]:
    """It stands still, every limit is a number of its own, and jitter is nil until a test wants it."""
    for name, seconds in LIMITS_S.items():
        setattr(settings, name, seconds)
    monkeypatch.setattr(random, "uniform", lambda low, high: (low + high) / 2)
    clock = ShopClock()
    yield clock
    clock.let_go()


@pytest.fixture
def task_begins() -> Iterator[None]:
    """As in a worker's pool process: from here on a soft limit may be sent."""
    before = signal.getsignal(signal.SIGUSR1)
    soft_limit.begin_task()
    yield
    signal.signal(signal.SIGUSR1, before)
