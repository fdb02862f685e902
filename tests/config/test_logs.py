"""Promise: a line of the log says which request it belongs to; for people as one line, for collectors as JSON; and neither holds a password."""

import json
import logging
import os
import subprocess
import sys
from typing import Any

import pytest

from config.logs import JsonLine, Line
from orders import tracing
from tests.engines import ROOT


def record(message: str = "%s is due", error: BaseException | None = None, **more: Any) -> logging.LogRecord:
    exc_info = (type(error), error, error.__traceback__) if error else None
    found = logging.LogRecord("shop", logging.WARNING, __file__, 1, message, ("ORD-1",), exc_info)
    for name, value in more.items():
        setattr(found, name, value)
    return found


def test_a_line_for_people_ends_with_the_request() -> None:
    with tracing.traced("req-7"):
        line = Line("%(levelname)s %(message)s").format(record(error=ValueError("odd")))

    assert line.splitlines()[0] == "WARNING ORD-1 is due request_id=req-7"
    assert line.splitlines()[-1] == "ValueError: odd"


def test_a_message_of_several_lines_is_found_by_its_first_one() -> None:
    with tracing.traced("req-7"):
        line = Line("%(levelname)s %(message)s").format(record("%s is due:\n  now"))

    assert line == "WARNING ORD-1 is due: request_id=req-7\n  now"


def test_what_is_logged_for_nobody_has_no_request() -> None:
    assert Line("%(message)s").format(record()) == "ORD-1 is due"


def test_a_value_stays_in_its_line() -> None:
    assert Line("%(message)s").format(record(fields={"client": "a\nb"})) == 'ORD-1 is due client="a\\nb"'


def test_a_line_for_a_collector_is_one_object() -> None:
    with tracing.traced("req-7"):
        line = JsonLine().format(record(error=ValueError("odd"), fields={"status": 201, "ms": 1.5}))

    found = json.loads(line)
    assert "\n" not in line
    assert found["at"].endswith("+00:00")
    assert found["traceback"].endswith("ValueError: odd")
    expected = {"level": "WARNING", "logger": "shop", "message": "ORD-1 is due", "request_id": "req-7", "status": 201, "ms": 1.5}
    assert {name: found[name] for name in expected} == expected


LOGS = "import django, logging; django.setup(); logging.getLogger('shop').warning('at %s', __import__('os').environ['DATABASE_URL'])"


@pytest.mark.parametrize("form", ["", "json", "line"])
def test_a_process_without_a_terminal_writes_json_unless_it_is_told_otherwise(form: str) -> None:
    variables = {"LOG_FORMAT": form, "DATABASE_URL": "postgresql://shop:pass-word@h/shop", "DJANGO_SETTINGS_MODULE": "config.settings"}
    run = subprocess.run([sys.executable, "-c", LOGS], cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, timeout=60)

    (line,) = run.stderr.splitlines()
    assert "pass-word" not in line
    if form == "line":
        assert "WARNING shop[" in line
    else:
        assert json.loads(line)["message"] == "at postgresql://shop:********@h/shop"
