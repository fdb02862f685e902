"""Promise: you can prove it of your own steps and providers: ``manage.py prove`` kills, freezes and lies at every boundary, and says when it does not hold."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.core.management import call_command

from config.stack import locks
from config.stack.ports import Port
from config.stack.processes import Command, end_leftovers
from fulfillment.crashpoints import BOUNDARIES
from fulfillment.step import Kind, Step
from fulfillment.steps import STEPS
from tests.engines import ROOT
from tests.proofs.checkout import copy_code
from tests.proofs.crash_matrix import proxy, rabbitmq, selection
from tests.proofs.crash_matrix.cases import ACTIONS, FAULTS, Case, sensible_cases
from tests.proofs.crash_matrix.outcome import Outcome
from tests.proofs.crash_matrix.proxy import Armed, Pace, Proxy
from tests.proofs.crash_matrix.record import Record
from tests.proofs.crash_matrix.stack import MatrixStack, options

SANDBOXED = ("payments", "carrier")
REPRESENTATIVE = [
    "before_start.do.inventory.none.kill",
    "after_start.do.payment.timeout_applied.kill_worker",
    "before_call.do.shipping.refused_503.kill",
    "after_call.undo.payment.error_500_applied.kill",
    "after_start.undo.payment.refused_once.kill",
    "before_settle_commit.do.payment.slow.stop",
    "after_settle_commit.undo.inventory.none.kill",
    "before_publish.do.shipping.drip.kill",
    "after_publish.undo.payment.garbage_200.kill",
    "open.do.payment.in_progress_409.kill",
    "launch.do.payment.late_landing.kill",
    "failed.undo.shipping.none.kill",
    "sweep.do.shipping.rejection_not_kept.kill",
    "before_settle_commit.do.payment.other_amount.kill",
    "after_settle_commit.undo.payment.other_amount.kill_worker",
    "before_call.do.payment.other_currency.kill",
    "failed.do.payment.nothing_taken.kill",
    "after_settle_commit.do.payment.refunded_outside.kill",
]


# --- on real workers ------------------------------------------------------------------------------------------------------


def prove(folder: Path, *words: str) -> tuple[int, str, str]:
    """``manage.py prove`` of the checkout in ``folder``, as a user runs it."""
    theirs = ("DATABASE_URL", "CELERY_BROKER_URL", "RUN_DIR", "SANDBOX_URL", "CRASH_POINTS", "PYTHONPATH")
    env = {name: value for name, value in os.environ.items() if name not in theirs}
    run = subprocess.run([sys.executable, "manage.py", "prove", *words], cwd=folder, env=env, capture_output=True, text=True, timeout=360)
    return run.returncode, run.stdout, run.stderr


def only(names: list[str]) -> list[str]:
    return [word for name in names for word in ("--only", name)]


@pytest.mark.timeout(400)
def test_a_representative_part_of_the_matrix_holds(tell: Callable[[str], None]) -> None:
    """Each boundary once and each kind of fault once: whatever dies and whoever lies, my order adds up."""
    begun = time.monotonic()

    code, out, err = prove(ROOT, *only(REPRESENTATIVE), "--json")

    assert code == 0, err
    found = json.loads(out)
    assert {case["case"] for case in found["cases"]} == set(REPRESENTATIVE)
    assert (found["breaches"], found["injected"]) == (0, 33)
    assert f"{len(REPRESENTATIVE)} cases, 33 faults injected, 0 breaches" in err
    tell(f"prove: {len(REPRESENTATIVE)} cases, 33 faults injected, 0 breaches, {time.monotonic() - begun:.0f} s")


# Bugs that projects of this kind really have: (file, what stands there, what a hurried hand would write, the case, what must be reported)
BUGS = {
    "a new key for every try": (
        "fulfillment/gateways/sandbox.py",
        "key=key, deadline_s=",
        "key=key + __import__('uuid').uuid4().hex, deadline_s=",
        "before_call.do.payment.timeout_applied.kill",
        "charge_nobody_owns",
    ),
    "what was never answered is taken for not done": (
        "fulfillment/engine/walking.py",
        "return record.state in (StepState.GRANTED, StepState.STARTED, StepState.RETRY_WAIT, StepState.IN_DOUBT)",
        "return False",
        "launch.undo.shipping.none.kill",
        "late",
    ),
}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("bug", BUGS)
def test_the_matrix_can_fail(tmp_path: Path, bug: str) -> None:
    """A bug that was planted on purpose is reported, by the invariant that it breaks: a proof that cannot fail proves nothing."""
    file, right, wrong, case, invariant = BUGS[bug]
    folder = checkout_with(tmp_path, file, right, wrong)

    code, out, _ = prove(folder, "--only", case)

    assert code == 1, out
    assert "BREACH" in out and invariant in out, out
    assert out.rstrip().endswith("1 breaches"), out


def checkout_with(folder: Path, file: str, right: str, wrong: str) -> Path:
    """This checkout, with one line replaced."""
    copy_code(folder)
    replaced(folder / file, right, wrong)
    return folder


def replaced(file: Path, old: str, new: str) -> None:
    """``{}`` in ``new`` stands for the old text."""
    text = file.read_text()
    assert text.count(old) == 1, f"{file.name} has changed: {old}"
    file.write_text(text.replace(old, new.replace("{}", old)))


# --- a newcomer's step and provider, by docs/prove.md alone ---------------------------------------------------------------

NEWCOMER = [
    "after_call.do.insurance.timeout_applied.kill",
    "before_settle_commit.undo.insurance.late_landing.kill_worker",
    "sweep.undo.insurance.none.kill",
    "before_publish.do.insurance.in_progress_409.kill",
]


@pytest.mark.timeout(400)
def test_a_newcomer_proves_a_step_and_a_provider_by_the_docs_alone(tmp_path: Path, tell: Callable[[str], None]) -> None:
    """I wrote a step and talk to my own provider: what the page says is enough to see it survive."""
    page = (ROOT / "docs/prove.md").read_text()
    folder = checkout_with(tmp_path, "fulfillment/steps/__init__.py", *_new_line(page, "STEPS: tuple"))
    replaced(folder / "config/settings.py", 'SANDBOX_URL: str = env.str("SANDBOX_URL", "", ', _quoted(page, "INSURER_URL: str") + "\n{}")
    replaced(
        folder / "fulfillment/steps/__init__.py",
        "from fulfillment.steps.inventory",
        "from fulfillment.steps.insurance import Insurance\n{}",
    )
    reserved = Port(None, 9100, "")
    port = reserved.number
    for name, text in re.findall(r"```python\n# (\S+)\n(.*?)```", page, re.DOTALL):
        (folder / name).write_text(text.replace("9100", str(port)))
    stub = subprocess.Popen([sys.executable, "insurer_stub.py"], cwd=folder)

    try:
        code, out, err = prove(folder, "--through", f"INSURER_URL=http://127.0.0.1:{port}", *only(NEWCOMER))
    finally:
        stub.kill()
        stub.wait()

    assert code == 0, out + err
    assert out.rstrip().endswith("4 cases, 7 faults injected, 0 breaches"), out
    tell("prove: a newcomer's step and provider, " + out.rstrip().splitlines()[-1])


def _quoted(page: str, beginning: str) -> str:
    """The line of code that the page shows in backticks."""
    found = re.search(f"`({re.escape(beginning)}[^`]*)`", page)
    assert found, beginning
    return found.group(1)


def _new_line(page: str, beginning: str) -> tuple[str, str]:
    """What stands there, and what the page says should."""
    standing = next(line for line in (ROOT / "fulfillment/steps/__init__.py").read_text().splitlines() if line.startswith(beginning))
    return standing, _quoted(page, beginning)


def test_what_selects_nothing_proves_nothing() -> None:
    code, _, err = prove(ROOT, "--only", "no_such_step")

    assert code == 2
    assert "No case fits" in err


def test_a_stack_without_crash_points_is_refused_with_what_to_do(tmp_path: Path) -> None:
    env = os.environ | {"RUN_DIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "manage.py", "prove", "--running"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)

    assert run.returncode == 2
    assert "CRASH_POINTS=" in run.stderr


def test_a_provider_that_is_no_setting_is_refused_before_anything_is_listed(tmp_path: Path) -> None:
    env = os.environ | {"RUN_DIR": str(tmp_path)}
    words = ["manage.py", "prove", "--list", "--through", "foo"]
    run = subprocess.run([sys.executable, *words], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)

    assert run.returncode == 2
    assert run.stderr.rstrip().endswith("'foo' is not SETTING=URL: there is no setting 'foo' in config/settings.py")
    assert "Traceback" not in run.stderr


# --- beside another one ---------------------------------------------------------------------------------------------------


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


# --- the selection --------------------------------------------------------------------------------------------------------


class Wrapping(Step):
    """A newcomer's step that talks to the carrier."""

    name = "wrapping"
    kind = Kind.COMPENSABLE
    role = "carrier"


class Thanking(Step):
    """A newcomer's step after the pivot."""

    name = "thanking"
    kind = Kind.RETRIABLE


def all_cases() -> list[Case]:
    return sensible_cases(STEPS, SANDBOXED)


def test_every_pair_that_can_meet_meets_in_at_least_150_cases() -> None:
    """No two of boundary, step and direction, fault and way to die are left untried together."""
    cases = all_cases()

    chosen = selection.pairwise(cases)

    def pairs(some: list[Case]) -> set[Any]:
        return {pair for case in some for pair in combinations(selection.values(case), 2)}

    assert pairs(chosen) == pairs(cases)
    assert 150 <= len(chosen) == len({case.name for case in chosen}) < len(cases) / 5


def test_the_selection_takes_in_everything_that_the_code_has() -> None:
    chosen = selection.pairwise(all_cases())

    assert {case.boundary for case in chosen} == set(BOUNDARIES)
    assert {case.fault for case in chosen} == set(FAULTS)
    assert {case.action for case in chosen} == set(ACTIONS)
    assert {case.target for case in chosen} == {(direction, step.name) for step in STEPS for direction in ("do", "undo")}


def test_names_are_stable() -> None:
    """What a case is called is what finds it tomorrow, and the same code selects the same cases."""
    assert selection.pairwise(all_cases()) == selection.pairwise(all_cases())
    assert Case("after_call", "undo", "payment", "timeout_applied", "kill").name == "after_call.undo.payment.timeout_applied.kill"
    assert {case.name for case in all_cases()} >= set(REPRESENTATIVE)


def test_a_part_of_the_name_or_a_glob_selects() -> None:
    by_glob = selection.matching(all_cases(), ["after_call.undo.payment*"])

    assert {(case.boundary, *case.target) for case in by_glob} == {("after_call", "undo", "payment")}
    assert [case.name for case in selection.matching(all_cases(), REPRESENTATIVE[:1])] == REPRESENTATIVE[:1]
    assert selection.matching(all_cases(), [".undo.payment.", "no_such_part"]) == [
        case for case in all_cases() if case.target == ("undo", "payment")
    ]


def test_a_local_step_is_not_lied_to_and_has_no_call() -> None:
    local = [case for case in all_cases() if case.step == "inventory"]

    assert {case.fault for case in local} == {"none"}
    assert not {case.boundary for case in local} & {"after_start", "before_call", "after_call"}


def test_a_newcomer_s_step_takes_part_by_standing_in_steps() -> None:
    """After the pivot only forward."""
    cases = sensible_cases((STEPS[0], Wrapping(), *STEPS[1:], Thanking()), SANDBOXED)

    chosen = selection.pairwise(cases)

    assert {case.direction for case in chosen if case.step == "wrapping"} == {"do", "undo"}
    assert {case.direction for case in chosen if case.step == "thanking"} == {"do"}


def test_what_was_proven_on_other_code_is_proven_again(tmp_path: Path) -> None:
    case, other = all_cases()[:2]
    held = Outcome(case=case, order="ORD-1", ended="fulfilled", seconds=1.0, injected=1, happened=True, reasons=())
    broken = Outcome(case=other, order="ORD-2", ended="fulfilled", seconds=1.0, injected=1, happened=True, reasons=("money_adds_up",))
    for outcome in (held, broken):
        Record(tmp_path / "cases.jsonl", "this code").add(outcome)
    with (tmp_path / "cases.jsonl").open("a") as cut:
        cut.write('{"case": "after_ca')

    assert Record(tmp_path / "cases.jsonl", "this code").proven([case, other]) == {case.name: held}
    assert Record(tmp_path / "cases.jsonl", "other code").proven([case, other]) == {}


# --- the proxy ------------------------------------------------------------------------------------------------------------

KEY = "ORD-1:payment:do:1"
PATIENCE_S = 1.0
QUICK = Pace(0.05)  # slow: 0.3 s, late: 1.25 s, a byte: 0.05 s, silence: 3 s


class Provider:
    """Somebody who does whatever arrives, and answers 201."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await proxy.read(reader)
        self.done.append(f"{request.method} {request.path} {request.key}")
        await proxy.say(writer, proxy.Answer(201, [("X-Mine", "yes")], b'{"id": "ch_1"}').raw())
        writer.close()


@asynccontextmanager
async def proxied(folder: Path) -> AsyncIterator[tuple[Provider, str]]:
    """The provider, and the proxy's address in front of it."""
    provider = Provider()
    upstream = await asyncio.start_server(provider.serve, proxy.HOST, 0)
    url = f"http://{proxy.HOST}:{upstream.sockets[0].getsockname()[1]}"
    front = await asyncio.start_server(Proxy(url, Armed(folder), QUICK).serve, proxy.HOST, 0)
    async with upstream, front:
        yield provider, f"http://{proxy.HOST}:{front.sockets[0].getsockname()[1]}"


def posted(folder: Path, count: int = 1, key: str = KEY) -> tuple[list[str], list[str]]:
    """What ``count`` callers saw, one after the other, and what the provider did in the end."""

    async def scene() -> tuple[list[str], list[str]]:
        async with proxied(folder) as (provider, url), httpx.AsyncClient(trust_env=False) as client:
            seen = [await _one(client, url, key) for _ in range(count)]
            await asyncio.sleep(0.5)
            return seen, provider.done

    return asyncio.run(scene())


async def _one(client: httpx.AsyncClient, url: str, key: str) -> str:
    """As the shop's gateways call: one deadline for everything."""
    try:
        answer = await asyncio.wait_for(client.post(f"{url}/v1/charges", headers={"Idempotency-Key": key}, json={}), PATIENCE_S)
    except (httpx.TransportError, TimeoutError):
        return "no answer"
    return f"{answer.status_code} {answer.text[:14]}"


DONE = f"POST /v1/charges {KEY}"
WELL = '201 {"id": "ch_1"}'
FIRST = {
    "timeout_applied": ("no answer", [DONE, DONE]),
    "error_500_applied": ('500 {"error": {"co', [DONE, DONE]),
    "refused_503": ('503 {"error": {"co', [DONE]),
    "slow": (WELL, [DONE, DONE]),
    "drip": ("no answer", [DONE, DONE]),
    "garbage_200": ("200 <html>It wor", [DONE, DONE]),
    "in_progress_409": ('409 {"error": {"co', [DONE]),
    "late_landing": ("no answer", [DONE, DONE]),
}


@pytest.mark.parametrize("fault", proxy.FAULTS)
def test_a_fault_strikes_once_and_then_all_is_well(tmp_path: Path, fault: str) -> None:
    """The first caller meets it, whether or not the provider did it is as its name says, and the second one is served."""
    (tmp_path / f"{fault}.ORD-1.payment.do").write_text("")

    seen, done = posted(tmp_path, 2)

    assert seen == [FIRST[fault][0], WELL]
    assert done == FIRST[fault][1]
    assert (tmp_path / f"{fault}.ORD-1.payment.do.hit").read_text().startswith(f"struck {KEY}\n")


def test_what_is_slow_is_answered_within_the_deadline(tmp_path: Path) -> None:
    (tmp_path / "slow.ORD-1.payment.do").write_text("")
    begun = time.monotonic()

    seen, _ = posted(tmp_path)

    assert seen == [WELL]
    assert time.monotonic() - begun >= QUICK.scaled(QUICK.slow_s)


def test_what_is_late_lands_after_whoever_asked_again(tmp_path: Path) -> None:
    (tmp_path / "late_landing.ORD-1.payment.do").write_text("")

    seen, done = posted(tmp_path, 2)

    assert seen == ["no answer", WELL]
    assert done == [DONE, DONE]
    assert (tmp_path / "late_landing.ORD-1.payment.do.hit").read_text().splitlines() == [f"struck {KEY}", f"landed {KEY}"]


def test_a_fault_strikes_as_often_as_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "refused_503.ORD-1.payment.do").write_text("2")

    seen, done = posted(tmp_path, 3)

    assert [answer[:3] for answer in seen] == ["503", "503", "201"]
    assert done == [DONE]


@pytest.mark.parametrize("other", ["ORD-1:payment:undo:1", "ORD-11:payment:do:1", "ORD-1:shipping:do:1", "none of the engine's keys"])
def test_nobody_else_is_lied_to(tmp_path: Path, other: str) -> None:
    """One order, one step, one direction: a refund that names its charge's key in the body is not taken for the charge."""
    (tmp_path / "refused_503.ORD-1.payment.do").write_text("")

    seen, _ = posted(tmp_path, 1, key=other)

    assert seen == [WELL]


def test_a_look_up_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "refused_503.ORD-1.payment.do").write_text("")

    async def scene() -> int:
        async with proxied(tmp_path) as (_, url), httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"{url}/v1/charges", params={"key": KEY})).status_code

    assert asyncio.run(scene()) == 201


def test_headers_and_bodies_pass_as_they_are(tmp_path: Path) -> None:
    async def scene() -> httpx.Response:
        async with proxied(tmp_path) as (_, url), httpx.AsyncClient(trust_env=False) as client:
            return await client.post(url, content=b"x" * 100_000)

    answer = asyncio.run(scene())
    assert (answer.status_code, answer.headers["X-Mine"], answer.json()) == (201, "yes", {"id": "ch_1"})
