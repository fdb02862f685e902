"""Promise: with the variables of a production nothing is left open, and a key that can be guessed opens no shop."""

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management.utils import get_random_secret_key

from config import secret_key
from tests.engines import ROOT

PRODUCTION = {
    "DEMO_VALUES": "0",
    "DATABASE_URL": "postgresql://shop:word@db.example/shop",
    "CELERY_BROKER_URL": "amqps://shop:word@mq.example/",
    "ALLOWED_HOSTS": "shop.example",
    "CSRF_TRUSTED_ORIGINS": "https://shop.example",
}
NAMES = (
    "SECURE_SSL_REDIRECT", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_HSTS_SECONDS", "SECURE_HSTS_INCLUDE_SUBDOMAINS",
    "SECURE_HSTS_PRELOAD", "SECURE_PROXY_SSL_HEADER", "SECURE_REFERRER_POLICY", "NUM_PROXIES", "OPERATORS_SECOND_FACTOR",
)  # fmt: skip
SHOW = f"import json; from config import settings; print(json.dumps({{name: getattr(settings, name) for name in {NAMES}}}))"


def run(*words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=os.environ | PRODUCTION | variables, capture_output=True, text=True, timeout=60
    )


def settings_of(**variables: str) -> Any:
    return json.loads(run("-c", SHOW, **variables).stdout)


def test_check_deploy_finds_nothing() -> None:
    """I deploy with the variables that the docs name, and no warning is left to be explained away."""
    checked = run("manage.py", "check", "--deploy", "--fail-level", "WARNING", SECRET_KEY=secrets.token_urlsafe(50))

    assert (checked.returncode, checked.stderr) == (0, "")
    assert "no issues" in checked.stdout


def test_production_is_https_by_default() -> None:
    assert settings_of() == {
        "SECURE_SSL_REDIRECT": True,
        "SESSION_COOKIE_SECURE": True,
        "CSRF_COOKIE_SECURE": True,
        "SECURE_HSTS_SECONDS": 31_536_000,
        "SECURE_HSTS_INCLUDE_SUBDOMAINS": True,
        "SECURE_HSTS_PRELOAD": False,
        "SECURE_PROXY_SSL_HEADER": None,
        "SECURE_REFERRER_POLICY": "same-origin",
        "NUM_PROXIES": 0,
        "OPERATORS_SECOND_FACTOR": False,
    }


@pytest.mark.parametrize("variables", [{"DEMO_VALUES": "1"}, {"DEBUG": "1"}, {"HTTPS": "0"}], ids=lambda given: next(iter(given)))
def test_the_demo_and_a_developer_use_plain_http(variables: dict[str, str]) -> None:
    found = settings_of(**variables)

    assert [found[name] for name in NAMES[:4]] == [False, False, False, 0]


def test_the_header_of_a_proxy_is_named_by_a_variable() -> None:
    assert settings_of(SECURE_PROXY_SSL_HEADER="X-Forwarded-Proto")["SECURE_PROXY_SSL_HEADER"] == ["HTTP_X_FORWARDED_PROTO", "https"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECURE_PROXY_SSL_HEADER", "X Forwarded: https"),
        ("SECURE_REFERRER_POLICY", "unsafe-url"),
        ("LOGIN_FAILURES", "0"),
        ("HTTPS", "maybe"),
        ("KEEP_HISTORY_D", "29"),
        ("KEEP_REFUSED_ATTEMPTS_D", "-1"),
    ],
)
def test_a_variable_that_means_nothing_is_refused_by_name(name: str, value: str) -> None:
    refused = run("manage.py", "check", **{name: value})

    assert refused.returncode != 0
    assert f"{name}: " in refused.stderr


WEAK = {
    "short": secrets.token_urlsafe(20),
    "of Django's new projects": "django-insecure-" + get_random_secret_key(),
    "a placeholder": "please-change-me-" + secrets.token_urlsafe(50),
    "one letter": "x" * 64,
    "a few letters": "abab1212cdcd3434" * 4,
    "a word again and again": "Kd8fPq2mZx7w" * 5,
    "the alphabet": "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
}


@pytest.mark.parametrize("weak", WEAK)
def test_a_key_that_can_be_guessed_is_seen(weak: str, tmp_path: Path) -> None:
    assert secret_key.weakness(WEAK[weak], tmp_path / "none")


def test_the_demo_s_key_is_seen(tmp_path: Path) -> None:
    """It lies in a file that was made for nothing but a demo."""
    key = secrets.token_urlsafe(50)
    (tmp_path / "secret_key").write_text(key)

    assert secret_key.weakness(key, tmp_path / "secret_key") == "is the one of the demo in this folder"


@pytest.mark.parametrize("make", [lambda: secrets.token_urlsafe(50), lambda: secrets.token_hex(32), get_random_secret_key])
def test_no_random_key_is_refused(make: Any, tmp_path: Path) -> None:
    assert [key for key in (make() for _ in range(2000)) if secret_key.weakness(key, tmp_path / "none")] == []


def test_a_web_process_with_such_a_key_refuses_to_start() -> None:
    """The database is the tests' own: the process registers itself before it looks at its settings."""
    refused = run("-c", "import config.wsgi", SECRET_KEY="x" * 50, DATABASE_URL=os.environ["DATABASE_URL"])

    assert refused.returncode == 3
    assert "config.E004: SECRET_KEY is not random" in refused.stderr


@pytest.mark.parametrize("key", ["", "x" * 50])
def test_check_deploy_names_such_a_key(key: str) -> None:
    checked = run("manage.py", "check", "--deploy", SECRET_KEY=key)

    assert checked.returncode != 0
    assert "(config.E00" in checked.stderr
