"""The sandbox is a process of its own: killed, it remembers everything."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from tests.fulfillment.conftest import SandboxProcess
from tests.fulfillment.sandbox.answers import CHARGE, GONE, HANGS, error_code, wait_for

ROOT = Path(__file__).resolve().parents[3]


def test_a_killed_sandbox_remembers_everything(new_sandbox: Callable[..., "SandboxProcess"]) -> None:
    """SIGKILL and a new start change no answer, no tombstone, no count of tries and no entry of the ledger."""
    provider = new_sandbox()
    before = [provider.charge("ORD-70").json(), provider.charge("ORD-71", "tok_declined").json(), provider.book("ORD-70").json()]
    provider.post("/v1/charges/cancel_by_key", "ORD-72:u:1", key="ORD-72:payment:do:1", order="ORD-72")
    provider.charge("ORD-73", "tok_flaky_2")
    with GONE:
        provider.charge("ORD-74", "tok_timeout_charged", timeout=HANGS)
    ledger = provider.client.get("/ledger").json()

    provider.end(signal.SIGKILL)
    provider.start()

    assert provider.client.get("/ledger").json() == ledger
    assert [provider.charge("ORD-70").json(), provider.charge("ORD-71", "tok_declined").json(), provider.book("ORD-70").json()] == before
    assert error_code(provider.charge("ORD-72")) == "cancelled_by_key"
    assert [provider.charge("ORD-73", "tok_flaky_2").status_code for _ in range(2)] == [503, 201]
    assert provider.charge("ORD-74", "tok_timeout_charged").status_code == 201


def test_a_charge_that_was_running_when_the_sandbox_was_killed_never_happened(new_sandbox: Callable[..., "SandboxProcess"]) -> None:
    """Nothing half-done is left: the same key charges anew, once."""
    provider = new_sandbox()
    with GONE:
        provider.charge("ORD-75", "tok_slow_8s", timeout=0.1)

    provider.end(signal.SIGKILL)
    provider.start()

    assert provider.effects("ORD-75") == []
    assert provider.charge("ORD-75", "tok_slow_8s").status_code == 201
    assert len(provider.effects("ORD-75")) == 1


def test_a_sandbox_killed_between_effect_and_answer_did_neither(new_sandbox: Callable[..., "SandboxProcess"]) -> None:
    """They are one transaction: the charge without its answer never happened, and the same key charges once."""
    provider = new_sandbox()
    provider.end()
    provider.start("from fulfillment.sandbox.ledger import Ledger; import os; Ledger.remember = lambda *_: os.kill(os.getpid(), 9)")
    with pytest.raises(httpx.HTTPError):
        provider.charge("ORD-77")
    provider.end(signal.SIGKILL)
    provider.start()

    assert provider.effects("ORD-77") == []
    assert provider.charge("ORD-77").status_code == 201
    assert len(provider.effects("ORD-77")) == 1


def test_effect_and_answer_survive_a_kill_together(new_sandbox: Callable[..., "SandboxProcess"]) -> None:
    """Killed in the middle of a stream of charges: every charge in the ledger has its answer, and asking again adds none."""
    provider = new_sandbox()

    def ask(number: int) -> None:
        try:
            provider.charge(f"ORD-76-{number}")
        except httpx.HTTPError:
            pass

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, number) for number in range(300)]
        wait(asked[:60])
        provider.end(signal.SIGKILL)
    provider.start()

    landed = [entry["order"] for entry in provider.client.get("/ledger").json()]
    assert 0 < len(landed) < 300
    assert all("Idempotent-Replayed" in provider.charge(order).headers for order in landed)
    assert len(provider.client.get("/ledger").json()) == len(landed)


def manage(*arguments: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings", "TIME_SCALE": "0.05", "DEMO_VALUES": "1"}
    command = [sys.executable, "manage.py", "sandbox", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """SIGTERM ends it with exit 0, even while it keeps somebody waiting; a second one on its port or ledger says so in one line."""
    ledger = str(tmp_path / "new" / "ledger.sqlite3")
    first = manage("--port", "0", "--ledger", ledger)
    assert first.stdout is not None
    url = first.stdout.readline().split()[3].rstrip(",")
    port = url.rpartition(":")[2]
    same_port = manage("--port", port, "--ledger", str(tmp_path / "other.sqlite3"))
    same_ledger = manage("--port", "0", "--ledger", ledger)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(
            httpx.post, f"{url}/v1/charges", json=CHARGE | {"token": "tok_timeout_charged"}, headers={"Idempotency-Key": "k"}
        )
        refusals = [process.communicate(timeout=15) for process in (same_port, same_ledger)]
        wait_for(lambda: len(httpx.get(f"{url}/ledger").json()) == 1)
        first.send_signal(signal.SIGTERM)
        assert isinstance(waiting.exception(timeout=5), httpx.RemoteProtocolError | httpx.ReadError)
    _, errors = first.communicate(timeout=5)

    assert (first.returncode, errors) == (0, "")
    assert [process.returncode for process in (same_port, same_ledger)] == [1, 1]
    assert f"Port {port} cannot be used" in refusals[0][1] and refusals[0][1].count("\n") == 1
    assert "another sandbox has it" in refusals[1][1] and refusals[1][1].count("\n") == 1


def test_the_command_helps_and_refuses_nonsense() -> None:
    """--help shows an example; a wrong value is a usage error, exit 2."""
    processes = [manage("--help"), manage("--port", "70000"), manage("--time-scale", "0"), manage("--time-scale", "nan")]
    outputs = [process.communicate(timeout=20) for process in processes]

    assert [process.returncode for process in processes] == [0, 2, 2, 2]
    assert "Example:" in outputs[0][0] and "--no-demo-values" in outputs[0][0]
    assert "70000 is not a port" in outputs[1][1]


def test_it_listens_on_this_machine_only(sandbox: "SandboxProcess") -> None:
    """Another address of the same machine finds nobody."""
    port = int(sandbox.url.rpartition(":")[2])

    with socket.socket() as elsewhere:
        assert elsewhere.connect_ex(("127.0.0.2", port)) != 0
