"""Promise: the command that a page, doctor or a runbook names is the command that the supervisor runs."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.celery import app
from config.stack.addresses import DEFAULT_PORTS, Addresses
from config.stack.commands import CONSUMERS, PROCESSES, QUEUES, Process, commands, environment
from config.stack.options import StackOptions
from config.stack.processes import Command
from config.stack.supervisor import ROLES, STOP_ORDER
from orders.findings.processes import loop
from tests.engines import ROOT

DOCS = ROOT / "docs"


@pytest.fixture
def addresses(tmp_path: Path) -> Iterator[Addresses]:
    run_dir = tmp_path / "a run directory"
    run_dir.mkdir()
    found = Addresses(StackOptions(folder=ROOT, run_dir=run_dir, time_scale=0.1), run_dir)
    found.reserve()
    yield found
    found.release()


def of_a_stack(addresses: Addresses) -> dict[str, Command]:
    given = environment(addresses, "postgresql://nobody", "redis://nobody")
    return {command.role: command for command in commands(addresses, given)}


def as_typed(role: str) -> str:
    """The command of ``role`` for an operator, with the stack's defaults."""
    return PROCESSES[role].command.format(port=DEFAULT_PORTS.get(role), run_dir=".run", time_scale=1)


def row(role: str, process: Process) -> str:
    """Of the table in docs/deploying.md."""
    variables = ", ".join(f"`{name}`" for name in process.variables) or "–"
    return f"| `{role}` | {process.does} | `{as_typed(role)}` | {variables} |"


def test_the_page_about_deploying_shows_every_process_with_its_command_and_its_variables() -> None:
    """I write my unit files from that table."""
    shown = [line for line in (DOCS / "deploying.md").read_text().splitlines() if line.startswith("| `")]

    assert shown == [row(role, process) for role, process in PROCESSES.items()]


@pytest.mark.parametrize("command", sorted(set(CONSUMERS.values())))
def test_the_runbook_of_a_queue_that_nobody_consumes_names_the_worker_that_does(command: str) -> None:
    assert f"| `{command}` |" in (DOCS / "runbooks" / "no-consumer.md").read_text()


@pytest.mark.parametrize("name", ["sweep", "relay"])
def test_doctor_names_the_command_of_a_loop_that_does_not_run(name: str) -> None:
    assert loop(name, None, 5.0).to_do == PROCESSES[name].command


def test_flower_by_hand_is_the_flower_of_the_stack() -> None:
    assert f"{PROCESSES['flower'].command}`" in (DOCS / "personal-data.md").read_text()


def test_every_queue_that_a_task_goes_to_has_a_consumer() -> None:
    routed = {route["queue"] for route in app.conf.task_routes.values()} | {app.conf.task_default_queue}

    assert set(QUEUES) == routed


def test_every_variable_that_a_process_cannot_work_without_is_documented_and_given_by_a_stack(addresses: Addresses) -> None:
    text, given = (DOCS / "settings.md").read_text(), of_a_stack(addresses)

    for role, process in PROCESSES.items():
        assert [name for name in process.variables if f"`{name}`" not in text] == [], role
        assert [name for name in process.variables if not given[role].env[name]] == [], role


def test_a_stack_runs_each_command_as_it_is_typed_by_its_own_python(addresses: Addresses) -> None:
    """Nobody's PATH has to know its programs, and a folder may have a space in its name."""
    for role, command in of_a_stack(addresses).items():
        python, *words = [word for word in command.argv if word != "-m"]
        first, *typed = as_typed(role).split()
        own = {"8900": addresses.number("sandbox"), "2525": addresses.number("mail"), "1": "0.1"} | {
            f".run/{name}": str(addresses.run_dir / name) for name in ("sandbox.sqlite3", "mail")
        }

        assert python == sys.executable
        expected = [own.get(word, word) for word in (*([] if first == "python" else [first]), *typed) if word != "-m"]
        assert words[: len(expected)] == expected, role


def test_a_stack_without_flower_has_every_other_process(tmp_path: Path) -> None:
    found = Addresses(StackOptions(folder=ROOT, run_dir=tmp_path, time_scale=0.1, with_flower=False), tmp_path)
    found.reserve()

    assert list(of_a_stack(found)) == [role for role in PROCESSES if role != "flower"]
    found.release()


def test_in_maintenance_the_providers_and_mail_are_up_and_nothing_else(tmp_path: Path) -> None:
    found = Addresses(StackOptions(folder=ROOT, run_dir=tmp_path, time_scale=0.1, in_maintenance=True), tmp_path)
    found.reserve()

    assert list(of_a_stack(found)) == ["sandbox", "mail"]
    found.release()


def test_the_supervisor_shows_and_stops_every_process() -> None:
    assert set(PROCESSES) <= set(ROLES)
    assert set(PROCESSES) <= {role for group in STOP_ORDER for role in group}
