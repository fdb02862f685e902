"""Promise: a client developer copies a program from docs/api.md, and it places one order, whatever happens to its first answer."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.db import OperationalError

from fulfillment.models import Saga, StepRecord
from orders.api import placing
from orders.models import Order, Status
from tests.debian import needed
from tests.engines import ROOT
from tests.orders.conftest import Client
from tests.proofs.black_box.waiting import wait_for

pytestmark = pytest.mark.processes
GUIDE = ROOT / "docs" / "api.md"
WITHIN_S = 60.0


def program(kind: str) -> str:
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    return str(found)


def words(kind: str, file: Path) -> list[str]:
    if kind == "py":
        return [sys.executable, str(file)]
    if kind == "js":
        return [shutil.which("node") or pytest.skip("There is no Node."), str(file)]
    needed(lambda: shutil.which("curl"), "curl", "curl")
    return ["bash", str(file)]


@pytest.fixture
def token(transactional_db: None, catalogue: None) -> str:
    return Client("web-shop").token


@pytest.fixture
def first_answer_is_lost() -> Any:
    """The order is placed, and the client is told 503."""
    place, asked = placing.place, []

    def placed_and_lost(*order: Any) -> Any:
        placed = place(*order)
        asked.append(order)
        if len(asked) == 1:
            raise OperationalError("the connection is lost")
        return placed

    with patch.object(placing, "place", placed_and_lost):
        yield asked


def fulfilled_once_it_is_placed() -> bool:
    """What the workers would do."""
    order = Order.objects.filter(status=Status.PLACED).first()
    if order is None:
        return False
    Saga.objects.update(state="completed", wake_at=None)
    StepRecord.objects.update(state="succeeded")
    order.move(Status.PROCESSING)
    order.move(Status.FULFILLED)
    return True


@pytest.mark.parametrize("kind", ["sh", "py", "js"])
def test_the_quickstart_places_follows_and_cancels_one_order(
    kind: str, tmp_path: Path, live_server: Any, token: str, first_answer_is_lost: list[Any]
) -> None:
    """I copy it, and it works; also where my first request got no answer."""
    file = tmp_path / f"quickstart.{kind}"
    file.write_text(program(kind))

    env = os.environ | {"SHOP": live_server.url, "TOKEN": token}
    started = subprocess.Popen(words(kind, file), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_for(lambda: fulfilled_once_it_is_placed() or started.poll() is not None, WITHIN_S)
        told, _ = started.communicate(timeout=WITHIN_S)
    finally:
        started.kill()

    number = Order.objects.get().number
    assert started.returncode == 0, told
    assert f"{number} placed" in told and f"{number} fulfilled" in told and "invalid_state" in told, told
    assert len(first_answer_is_lost) >= 2
