"""Promise: a wrong setting or wrong wiring is refused in one sentence, by the web process, the workers and the commands alike."""

import os
import subprocess
import sys

import pytest

from tests.engines import ROOT

PROCESSES = {
    "web": ["-m", "gunicorn", "config.wsgi", "--bind", "127.0.0.1:0"],
    "worker": ["-m", "celery", "-A", "config", "worker", "-P", "solo"],
    "worker of a stack": ["-m", "config.celery_worker", "-P", "solo"],
    "flower": ["-m", "celery", "-A", "config", "flower", "--port=0"],
    "sweep": ["manage.py", "sweep", "--once"],
    "relay": ["manage.py", "relay", "--once"],
    "command": ["manage.py", "check"],
}
WRONG = {
    "setting": ({"TIME_SCALE": "fast"}, "TIME_SCALE: Not a valid number."),
    "wiring": ({"CALL_DEADLINE_S": "50"}, "CALL_DEADLINE_S (5 s) must be less than TASK_SOFT_LIMIT_S (2 s)."),
}


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("wrong", WRONG)
def test_it_refuses_to_start_and_says_why(process: str, wrong: str) -> None:
    """A shop with a wrong setting does not open."""
    variables, sentence = WRONG[wrong]

    run = subprocess.run(
        [sys.executable, *PROCESSES[process]],
        cwd=ROOT,
        env=os.environ | variables | {"SECRET_KEY": "x" * 50},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert run.returncode != 0
    assert sentence in run.stdout + run.stderr
    if process != "web":
        assert run.returncode == 1
        assert "Traceback" not in run.stdout + run.stderr


REFUSED = {
    "SANDBOX_URL": (("ftp://x", "nonsense", "http://", "http://a b", "//host"), "Not an http:// or https:// URL."),
    "FLOWER_URL": (("nonsense",), "Not an http:// or https:// URL."),
    "SHOP_CURRENCY": (("XXX", "DEM", "eur", "", "EURO"), "Not a currency that anybody pays with (ISO 4217)."),
}


@pytest.mark.parametrize(("variable", "value"), [(name, value) for name, (values, _) in REFUSED.items() for value in values])
def test_a_variable_that_means_nothing_is_refused_by_name(variable: str, value: str) -> None:
    """I am told which variable, and what is wrong with it."""
    run = read_settings(**{variable: value})

    assert run.returncode != 0
    assert f"{variable}: {REFUSED[variable][1]}" in run.stderr


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:8900", "https://bank.example/sandbox", "http://[::1]:8900", "http://sandbox"])
def test_a_url_that_means_something_is_taken(url: str) -> None:
    assert read_settings(SANDBOX_URL=url, FLOWER_URL=url, SHOP_CURRENCY="CHF").returncode == 0


def read_settings(**variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", "import config.settings"], cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, timeout=60
    )


def test_a_web_process_without_a_secret_key_refuses_to_start() -> None:
    run = subprocess.run([sys.executable, "-c", "import config.wsgi"], cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=60)

    assert run.returncode == 3
    assert "config.E002: SECRET_KEY is not set." in run.stderr


def test_a_command_without_a_database_names_make_up() -> None:
    """Where nothing runs, I am told how to start it."""
    outer = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")}

    run = subprocess.run(
        [sys.executable, "manage.py", "reconcile"],
        cwd=ROOT,
        env=outer | {"RUN_DIR": "/tmp/no-such-run"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert run.returncode != 0
    assert "make up" in run.stdout + run.stderr
    assert "Traceback" not in run.stderr


def test_a_flower_without_a_login_refuses_to_start() -> None:
    """Started by hand it would show every task, and let everybody end them."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("FLOWER_")}

    run = subprocess.run([sys.executable, *PROCESSES["flower"]], cwd=ROOT, env=outer, capture_output=True, text=True, timeout=60)

    assert run.returncode == 1
    assert "config.E003: Flower has no login." in run.stderr
