"""Promise: ``manage.py prove`` is alone in its run directory, and leaves nothing behind."""

import shutil
import signal
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

from config.stack import locks
from config.stack.processes import Command, end_leftovers
from tests.engines import ROOT
from tests.proofs.crash_matrix import rabbitmq
from tests.proofs.crash_matrix.stack import MatrixStack, options


def test_a_second_one_is_refused_in_the_run_directory_and_leaves_the_broker_of_the_first_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I forgot that one is running in another window: it goes on."""
    monkeypatch.setattr(rabbitmq, "SERVER", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda _: "erl")
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # those of the test run stay
    monkeypatch.setattr(settings, "RUN_DIR", tmp_path)
    queues = tmp_path / "prove" / "rabbitmq" / "mnesia"
    queues.mkdir(parents=True)

    with locks.take(tmp_path / "prove" / "lock") or pytest.fail("nobody else holds it"), pytest.raises(SystemExit) as ended:
        call_command("prove", "--broker", "rabbitmq")

    assert ended.value.code == 2
    assert queues.exists()


def test_the_process_that_proves_is_found_when_its_stack_was_killed(tmp_path: Path) -> None:
    """I killed the command: ``make stop`` ends what went on judging without it."""
    prover = subprocess.Popen(["sleep", "300"], start_new_session=True)

    MatrixStack(options(ROOT, tmp_path), lambda line: None, {}).note_the_prover(prover.pid)
    threading.Thread(target=prover.wait, daemon=True).start()

    assert end_leftovers(tmp_path / "processes.json") == ["prove"]
    assert prover.wait(5) == -signal.SIGKILL


def test_a_broker_starts_without_the_queues_of_an_earlier_run(tmp_path: Path) -> None:
    """Its node is named after its port, and would find them."""

    class Nothing(rabbitmq.RabbitMq):
        def commands(self) -> list[Command]:
            return []

    broker = Nothing(tmp_path / "rabbitmq", [])
    (broker.folder / "mnesia").mkdir(parents=True)
    outside = replace(options(ROOT, tmp_path, "amqp://somewhere"), database_url="postgresql://elsewhere")

    MatrixStack(outside, lambda line: None, {}, broker)._start_engines()

    assert not broker.folder.exists()
