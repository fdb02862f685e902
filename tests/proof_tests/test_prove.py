"""Promise: you can prove it of your own steps and providers: ``manage.py prove`` kills, freezes and lies at every boundary, and says when it does not hold."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from config.stack.ports import Port
from tests.engines import ROOT
from tests.proof_tests.prove_command import COLLAPSED, REPRESENTATIVE, only, prove
from tests.proofs.checkout import copy_code


@pytest.mark.timeout(400)
def test_a_representative_part_of_the_matrix_holds(show_figure: Callable[[str], None]) -> None:
    """Each boundary once and each kind of fault once: whatever dies and whoever lies, my order adds up."""
    begun = time.monotonic()

    code, out, err = prove(ROOT, *only(REPRESENTATIVE), "--json")

    assert code == 0, err
    found = json.loads(out)
    assert {case["case"] for case in found["cases"]} == set(REPRESENTATIVE)
    assert (found["breaches"], found["injected"]) == (0, 33)
    assert f"{len(REPRESENTATIVE)} cases, 33 faults injected, 0 breaches" in err
    show_figure(f"prove: {len(REPRESENTATIVE)} cases, 33 faults injected, 0 breaches, {time.monotonic() - begun:.0f} s")


@pytest.mark.timeout(400)
def test_a_part_of_the_matrix_holds_while_steps_share_a_task(show_figure: Callable[[str], None]) -> None:
    """Whoever dies between two steps of one task, or in the second: my order adds up."""
    code, out, err = prove(ROOT, *only(COLLAPSED), "--json", CHAIN_COLLAPSE="1")

    assert code == 0, err
    found = json.loads(out)
    assert {case["case"] for case in found["cases"]} == set(COLLAPSED)
    show_figure(f"prove, collapsed: {len(COLLAPSED)} cases, {found['injected']} faults injected, {found['breaches']} breaches")


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
        "fulfillment/engine/compensation.py",
        "return step.state in (ActionState.SCHEDULED, ActionState.STARTED, ActionState.RETRY_WAIT, ActionState.IN_DOUBT)",
        "return False",
        "launch.compensate.shipping.none.kill",
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


NEWCOMER = [
    "after_call.do.insurance.timeout_applied.kill",
    "before_outcome_commit.compensate.insurance.late_landing.kill_worker",
    "sweep.compensate.insurance.none.kill",
    "before_publish.do.insurance.in_progress_409.kill",
]


@pytest.mark.timeout(400)
def test_a_newcomer_proves_a_step_and_a_provider_by_the_docs_alone(tmp_path: Path, show_figure: Callable[[str], None]) -> None:
    """I wrote a step and call my own provider: what the page says is enough to see it survive."""
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
    show_figure("prove: a newcomer's step and provider, " + out.rstrip().splitlines()[-1])


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
