"""``manage.py prove``, as the tests of the crash matrix run it."""

import os
import sys
from pathlib import Path

from tests.proof_tests.commands import run_to_its_end

REPRESENTATIVE = [
    "before_start.do.inventory.none.kill",
    "after_start.do.payment.timeout_applied.kill_worker",
    "before_call.do.shipping.refused_503.kill",
    "after_call.compensate.payment.error_500_applied.kill",
    "after_start.compensate.payment.refused_once.kill",
    "before_outcome_commit.do.payment.slow.stop",
    "after_outcome_commit.compensate.inventory.none.kill",
    "before_publish.do.shipping.drip.kill",
    "after_publish.compensate.payment.garbage_200.kill",
    "open.do.payment.in_progress_409.kill",
    "launch.do.payment.late_landing.kill",
    "failed.compensate.shipping.none.kill",
    "sweep.do.shipping.rejection_not_kept.kill",
    "before_outcome_commit.do.payment.other_amount.kill",
    "after_outcome_commit.compensate.payment.other_amount.kill_worker",
    "before_call.do.payment.other_currency.kill",
    "failed.do.payment.nothing_taken.kill",
    "after_outcome_commit.do.payment.refunded_outside.kill",
]

COLLAPSED = [  # what may go wrong with a step that follows in the same task
    "before_publish.do.shipping.none.kill",
    "after_publish.do.inventory.none.kill_worker",
    "after_start.do.shipping.timeout_applied.kill",
    "before_outcome_commit.do.shipping.none.stop",
    "before_start.do.inventory.none.kill",
    "failed.do.shipping.none.kill",
    "after_call.compensate.payment.error_500_applied.kill",
    "before_publish.compensate.payment.none.kill",
]


def prove(folder: Path, *words: str, **variables: str) -> tuple[int, str, str]:
    """``manage.py prove`` of the checkout in ``folder``, as a user runs it."""
    theirs = ("DATABASE_URL", "CELERY_BROKER_URL", "RUN_DIR", "SANDBOX_URL", "CRASH_POINTS", "PYTHONPATH")
    env = {name: value for name, value in os.environ.items() if name not in theirs} | variables
    run = run_to_its_end([sys.executable, "manage.py", "prove", *words], folder, env, within_s=360)
    return run.returncode, run.stdout, run.stderr


def only(names: list[str]) -> list[str]:
    return [word for name in names for word in ("--only", name)]
