"""A shop that is well, and its findings."""

import threading
from typing import Any

import pytest

from config import doctor
from config.worker import findings as workers
from fulfillment import recovery
from orders import readiness
from orders.findings import Finding
from sideeffects import relay
from tests.fulfillment.conftest import SandboxProcess
from tests.fulfillment.conftest import order as order
from tests.fulfillment.conftest import saga as saga
from tests.fulfillment.conftest import sandbox as sandbox
from tests.sideeffects.conftest import record_fact as record_fact

ALL = {"compensation": ["saga@here"], "saga": ["saga@here"], "sideeffects": ["sideeffects@here"]}


@pytest.fixture
def well(db: None, sandbox: SandboxProcess, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything answers: the broker and the workers by word alone, the rest really."""
    settings.SANDBOX_URL = sandbox.url
    monkeypatch.setattr(readiness, "_is_migrated", threading.Event())
    monkeypatch.setattr(workers, "trouble", str)
    monkeypatch.setattr(workers, "consumers", lambda app, within_s: ALL)
    recovery.record_heartbeat()
    relay.record_heartbeat()


def of(what: str) -> list[Finding]:
    return [finding for finding in doctor.examine() if finding.what == what]
