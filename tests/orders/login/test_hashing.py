"""Promise: logins do not take the machine from the API: each process hashes one password at a time, in a thread that gives way."""

import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.hashers import PBKDF2PasswordHasher, make_password
from django.contrib.auth.models import User
from django.test import Client as Browser

from orders.login import hashing
from orders.login.hashing import Busy, HashingThread
from tests.orders.login.conftest import LOGIN, RIGHT, log_in

SOON_S = 60.0  # a bound, not a wait


@pytest.fixture
def somebody_is_hashed() -> Iterator[threading.Event]:
    """Until the event is set."""
    begun, may_end = threading.Event(), threading.Event()

    def compute() -> str:
        begun.set()
        return str(may_end.wait(SOON_S))

    with ThreadPoolExecutor() as others:
        others.submit(hashing._hashing.run, compute)
        assert begun.wait(SOON_S)
        yield may_end
        may_end.set()


def test_whoever_comes_while_a_password_is_hashed_is_told_to_come_again(amara: User, somebody_is_hashed: threading.Event) -> None:
    """I read what happened, wait a second, and come in; nobody counts it as a wrong password."""
    refused = log_in(RIGHT)

    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert "try again; nothing was done" in refused.content.decode()
    assert not AccessAttempt.objects.exists()
    somebody_is_hashed.set()
    _until_free()
    assert log_in(RIGHT).status_code == 302


def test_a_program_gets_a_problem_document(amara: User, somebody_is_hashed: threading.Event) -> None:
    refused = log_in(RIGHT, headers={"Accept": "application/json"})

    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json()["code"] == "login_busy"


@pytest.mark.django_db(transaction=True)
def test_of_many_parallel_logins_one_is_hashed_and_the_others_are_answered_at_once(
    django_user_model: type[User], somebody_is_hashed: threading.Event
) -> None:
    """Twenty-four people press the button in the same second. The API does not notice."""
    pages = [Browser() for _ in range(24)]
    assert {page.get(LOGIN).status_code for page in pages} == {200}

    answers = [log_in(RIGHT, name=f"somebody{number}", browser=page).status_code for number, page in enumerate(pages)]

    assert answers == [429] * 24


def test_a_hash_is_computed_in_a_thread_of_its_own_that_gives_way() -> None:
    seen: list[tuple[str, int]] = []

    def compute() -> str:
        seen.append((threading.current_thread().name, os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
        return ""

    HashingThread().run(compute)

    ((name, niceness),) = seen
    assert name.startswith("password-hash")
    if sys.platform == "linux":
        assert niceness == min(os.getpriority(os.PRIO_PROCESS, 0) + hashing.NICE, 19) or niceness == hashing.NICE


def test_two_hashes_in_a_row_of_one_request_are_computed(amara: User) -> None:
    """I change my password: the old one is checked, the new one is set."""
    browser = Browser()
    log_in(RIGHT, browser=browser)
    new = {"old_password": RIGHT, "new_password1": "another horse battery", "new_password2": "another horse battery"}

    assert browser.post("/admin/password_change/", new).status_code == 302

    assert log_in("another horse battery").status_code == 302


def test_hashes_are_django_s_own() -> None:
    """Whoever leaves this shop takes the passwords with them."""
    assert PBKDF2PasswordHasher().verify(RIGHT, make_password(RIGHT))


def test_one_that_finds_no_core_is_given_up_and_nobody_else_begins_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "WITHIN_S", 0.05)
    thread, may_end = HashingThread(), threading.Event()

    with pytest.raises(Busy):
        thread.run(lambda: str(may_end.wait(SOON_S)))
    with pytest.raises(Busy):
        thread.run(str)

    may_end.set()
    monkeypatch.setattr(hashing, "WITHIN_S", SOON_S)
    _until_free(thread)
    assert thread.run(lambda: "hash") == "hash"


def _until_free(thread: HashingThread = hashing._hashing) -> None:
    assert thread._is_free.acquire(timeout=SOON_S)
    thread._is_free.release()
