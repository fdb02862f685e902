"""Promise: what the mail server says of one message is said of that message; what it says of us is tried again until it is repaired."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.stack.embedded import BOUNCES
from config.stack.ports import Port, listens
from tests.proofs.black_box.waiting import wait_for
from tests.sideeffects.conftest import RecordFact

pytestmark = pytest.mark.django_db(transaction=True)
PASSWORD = "mail-of-this-shop"


@pytest.fixture
def catcher(tmp_path: Path, settings: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The mail catcher that the stack runs; the folder of its mails."""
    port = Port(None, 2700, "MAIL_PORT")
    words = [sys.executable, "-m", "config.stack.embedded", "--port", str(port.number), "--dir", str(tmp_path / "mail")]
    process = subprocess.Popen(words, env=os.environ | {"EMAIL_URL": f"smtp://shop:{PASSWORD}@127.0.0.1:{port.number}"})
    wait_for(lambda: listens(port.number), 20)
    for name, value in {"HOST": "127.0.0.1", "PORT": port.number, "HOST_USER": "shop", "HOST_PASSWORD": PASSWORD}.items():
        setattr(settings, f"EMAIL_{name}", value)
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"  # type: ignore[attr-defined]
    yield tmp_path / "mail"
    process.terminate()
    process.wait(10)
    port.release()


def test_a_message_is_stored(record_fact: RecordFact, catcher: Path) -> None:
    owed = record_fact("email")
    owed.run()
    assert owed.row() == ("delivered", 1, "")
    assert "ORD-1" in next(catcher.glob("*.eml")).read_text()


def test_a_recipient_who_is_refused_is_given_up_at_once(record_fact: RecordFact, catcher: Path) -> None:
    owed = record_fact("email", email=BOUNCES)
    owed.run()
    assert owed.row() == ("dead", 1, "PermanentlyRefused")


@pytest.mark.parametrize("user", ["shop", ""])
def test_a_login_that_is_refused_gives_up_no_mail(record_fact: RecordFact, catcher: Path, settings: object, user: str) -> None:
    """My receipt comes late where somebody has changed the password, and is not lost."""
    settings.EMAIL_HOST_PASSWORD, settings.EMAIL_HOST_USER = "of another shop", user  # type: ignore[attr-defined]
    owed = record_fact("email")
    owed.run()
    assert owed.row()[:2] == ("retry_wait", 1)
    assert list(catcher.glob("*.eml")) == []
