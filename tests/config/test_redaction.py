"""Promise: no password of ours stands in what a worker answers to whoever asks, or in a log."""

import json
import os
import subprocess
import sys

import pytest

from tests.engines import ROOT

SHOWN = """
import json, logging
from config.celery import _answer_without_passwords, app
from celery.worker.control import Panel
from celery.utils.serialization import jsonify
import django
django.setup()
_answer_without_passwords()
class State: pass
State.app = app
print(json.dumps([Panel.data["conf"](State, with_defaults=True), Panel.data["report"](State), jsonify(app.conf.table(True), unknown_type_filter=repr)]))
logging.getLogger("shop").error("Cannot reach %s", __import__("os").environ["CELERY_BROKER_URL"])
print(app.connection().as_uri())
"""
BROKERS = [
    "redis://:pass-word@h:6379/0",
    "redis+socket://shop:pass-word@/tmp/no.sock",
    "amqp://shop:pass-word@a:5672//;amqp://shop:pass-word@b:5672//",
    "amqp://shop:pass%2Dword@a:5672//",
]


@pytest.mark.parametrize("broker", BROKERS)
def test_what_a_worker_shows_of_its_configuration_holds_no_password(broker: str) -> None:
    """Whoever looks at a worker's page in Flower learns how it is configured, and not how to get in."""
    variables = {
        "CELERY_BROKER_URL": broker,
        "DATABASE_URL": "postgresql://shop:pass-word@127.0.0.1/shop",
        "EMAIL_URL": "smtp://shop:pass-word@127.0.0.1:25",
        "SECRET_KEY": "pass-word" * 6,
    }

    run = subprocess.run([sys.executable, "-c", SHOWN], cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, timeout=60)

    assert run.returncode == 0, run.stderr
    answers = json.loads(run.stdout.splitlines()[0])
    assert answers[0]["task_acks_late"] is False
    assert "Cannot reach" in run.stderr
    for form in ("pass-word", "pass%2Dword"):
        assert form not in run.stdout + run.stderr
