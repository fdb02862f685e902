"""Promise: what stands still instead of dying is seen: by probes of the web process within two seconds, and by the health check of each other process."""

import time
from typing import Any

import httpx

from tests.promises.conftest import Shop
from tests.proofs.black_box.waiting import wait_for

WITHIN_S = 2.5  # what we promise, and half a second for a busy machine


def ask(shop: Shop, page: str) -> tuple[int, dict[str, Any]]:
    """As an orchestrator asks: by IP address. Never waited for longer than ``WITHIN_S``."""
    begun = time.monotonic()
    answer = httpx.get(f"{shop.stack.info['web']}/{page}", headers={"Host": "10.12.0.7:8000"}, timeout=10)
    assert time.monotonic() - begun < WITHIN_S, page
    return answer.status_code, dict(answer.json())


def levels(page: dict[str, Any]) -> dict[str, str]:
    return {finding["what"]: finding["level"] for finding in page["findings"]}


def test_a_database_that_stands_still_is_answered_for_within_two_seconds(shop: Shop) -> None:
    """My probe is never left waiting, and the shop is ready again when its database is."""
    assert ask(shop, "readyz") == (200, {"status": "ready"})

    with shop.stopped("postgres"):
        assert ask(shop, "healthz") == (200, {"status": "ok"})
        for _ in range(3):
            code, page = ask(shop, "readyz")
            assert (code, page["status"]) == (503, "not ready")
            assert page["why"] in ("the database has not answered within 1.5 s", "the database does not answer")
        code, page = ask(shop, "status")
    assert (code, page["level"], page["numbers"]) == (503, "FAIL", {})
    assert "FAIL" in (levels(page).get("database"), levels(page).get("status"))  # it says so itself, or it has not got further

    wait_for(lambda: ask(shop, "readyz")[0] == 200, 20)


def test_a_broker_that_stands_still_sends_no_customer_away(shop: Shop) -> None:
    """My order is taken; a person learns of the broker elsewhere."""
    wait_for(
        lambda: "status" not in levels(ask(shop, "status")[1]), 20
    )  # whoever asks while it is being found out gets what was found until then
    with shop.stopped("valkey"):
        assert ask(shop, "readyz")[0] == 200
        code, page = ask(shop, "status")
        assert (code, levels(page)["broker"]) == (503, "FAIL")

    wait_for(lambda: levels(ask(shop, "status")[1])["workers"] == "ok", 30)


def test_each_process_says_whether_it_works_itself(shop: Shop) -> None:
    """An orchestrator starts again what stands still, and nothing else."""
    for process in ("saga@%h", "sideeffects@%h", "sweep", "relay"):
        run = shop.manage("health", process)
        assert run.returncode == 0, run.stdout + run.stderr

    with shop.stopped("saga"):
        frozen, other = shop.manage("health", "saga@%h"), shop.manage("health", "sideeffects@%h")

    assert (frozen.returncode, other.returncode) == (1, 0)
    assert "has not answered within 2 s" in frozen.stdout
