"""``manage.py prove``: the crash matrix (fault injection case by case), on real workers, against the steps and gateways of this checkout."""

import json
import os
import subprocess
import sys
from argparse import Action, ArgumentError, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand
from marshmallow import ValidationError
from rich.console import Console

from config.settings import HTTP, running_stack
from config.stack.errors import StackError
from config.stack.stop_signals import handle_signals
from fulfillment.management.numbers import at_least_zero
from fulfillment.steps import STEPS
from orders.management.placing_client import ShopClient
from tests.proofs.crash_matrix import matrix, rabbitmq, selection
from tests.proofs.crash_matrix.cases import Case, sensible_cases
from tests.proofs.crash_matrix.outcome import Outcome
from tests.proofs.crash_matrix.proxy import STANDS
from tests.proofs.crash_matrix.record import Record, as_line, fingerprint
from tests.proofs.crash_matrix.report import Report
from tests.proofs.crash_matrix.script import needs_proxy, sandboxed_roles
from tests.proofs.crash_matrix.stack import CRASH, FAULTS, MatrixStack, options
from tests.proofs.crash_matrix.testbed import Testbed

FLOOR = 150
HELD, BROKEN, NOTHING = 0, 1, 2
WIDTH = 150


class Command(BaseCommand):
    help = (
        "The crash matrix: kill, freeze and lie to real workers at every boundary of every step, and check afterwards that each order adds up. "
        "Steps and gateways of yours take part as soon as they stand in STEPS and ROLES (docs/prove.md). "
        "It starts a stack of its own in the folder prove of RUN_DIR and stops it at the end. "
        "The default selection (190 cases) takes about 4 minutes on two cores, --all about 40. "
        "Example: manage.py prove --only 'after_call.compensate.payment*'. "
        "Exit 0: all held. 1: a breach, or fewer cases than the floor. 2: nothing was proven."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--all", action="store_true", help="every sensible case, instead of a pairwise selection")
        which.add_argument(
            "--only", action="append", metavar="PATTERN", help="cases whose name contains this, or fits it as a glob; repeatable"
        )
        parser.add_argument("--list", action="store_true", help="print the names of the selected cases, and prove nothing")
        parser.add_argument("--resume", action="store_true", help="skip what an earlier run has proven with the same code and broker")
        parser.add_argument("--floor", type=at_least_zero, help=f"fail below so many cases (default {FLOOR}; with --only 1)")
        parser.add_argument("--json", action="store_true", help="one JSON object on standard output; the rest goes to standard error")
        parser.add_argument("--broker", choices=("valkey", "rabbitmq"), default="valkey", help="which broker to start (default: valkey)")
        parser.add_argument(
            "--running", action="store_true", help="use the running stack of RUN_DIR; it needs crash points (docs/prove.md)"
        )
        parser.add_argument(
            "--through",
            action=EachOnce,
            default={},
            type=provider,
            metavar="SETTING=URL",
            help="put the fault proxy before this provider too; repeatable",
        )
        parser.add_argument("--token", default="tok_ok", help="the payment token of the orders (default: %(default)s)")
        parser.add_argument("--sku", default="TENT-2P-GRN", help="what they order (default: %(default)s)")

    def handle(self, *args: Any, **asked: Any) -> None:
        handle_signals()
        cases = self._selected(asked)
        if not cases:
            self._exit(f"No case fits {' or '.join(asked['only'])}: `manage.py prove --all --list` names them all.")
        if asked["list"]:
            self.stdout.write("\n".join(case.name for case in cases))
            return
        try:
            code = self._here(cases, asked) if asked["running"] else self._on_a_stack_of_its_own(asked)
        except StackError as refused:
            self._exit(str(refused))
        except KeyboardInterrupt:
            self._exit("Interrupted; `--resume` goes on where this stopped.")
        sys.exit(code)

    def _exit(self, why: str) -> None:
        self.stderr.write(why)
        sys.exit(NOTHING)

    def _selected(self, asked: dict[str, Any]) -> list[Case]:
        cases = sensible_cases(STEPS, sandboxed_roles(STEPS))
        if asked["only"]:
            return selection.spread(selection.matching(cases, asked["only"]))
        return selection.spread(cases if asked["all"] else selection.pairwise(cases))

    # --- a stack of its own, and a process with its settings ---

    def _on_a_stack_of_its_own(self, asked: dict[str, Any]) -> int:
        run_dir = settings.RUN_DIR.resolve() / "prove"
        broker = rabbitmq.choose(run_dir) if asked["broker"] == "rabbitmq" else None
        console = self._console(asked)
        wanted = options(settings.BASE_DIR, run_dir, broker.url if broker else "")
        with MatrixStack(wanted, lambda line: console.print(line, highlight=False, markup=False), asked["through"], broker) as stack:
            return _in_its_settings(stack)

    def _console(self, asked: dict[str, Any]) -> Console:
        stream = sys.stderr if asked["json"] else sys.stdout
        return Console(file=stream, width=None if stream.isatty() else WIDTH)

    # --- in that process ---

    def _here(self, cases: list[Case], asked: dict[str, Any]) -> int:
        info = running_stack()
        self._refuse_without_crash_points(info)
        report = Report(self._console(asked))
        if not (settings.RUN_DIR / FAULTS / STANDS).exists():
            report.say("No fault proxy stands before the providers of this stack: only cases that need none are proven.")
            cases = [case for case in cases if not needs_proxy(case, STEPS)]
        shop = ShopClient(info["api"], info["token"])
        testbed = Testbed(settings.RUN_DIR.resolve(), shop, STEPS, settings.LEASE_S, asked["token"], asked["sku"])
        outcomes = self._prove(cases, asked, testbed, report)
        floor = asked["floor"] if asked["floor"] is not None else 1 if asked["only"] else FLOOR
        enough = len(outcomes) >= floor
        if not enough:
            report.say(f"These are fewer cases than the floor, {floor}.")
        report.verdict(outcomes)
        if asked["json"]:
            self.stdout.write(json.dumps(_summary(outcomes)))
        return HELD if enough and all(outcome.ok for outcome in outcomes) else BROKEN

    def _refuse_without_crash_points(self, info: dict[str, Any]) -> None:
        folder = settings.CRASH_POINTS
        if info and folder is not None and folder.resolve() == (settings.RUN_DIR / CRASH).resolve() and folder.is_dir():
            return
        where = settings.RUN_DIR / CRASH
        self._exit(
            f"There is no running stack with crash points: make the folder {where}, and give both the stack and this command "
            f"CRASH_POINTS={where} and DEMO_VALUES=1. Or leave --running out."
        )

    def _prove(self, cases: list[Case], asked: dict[str, Any], testbed: Testbed, report: Report) -> list[Outcome]:
        record = Record(
            settings.RUN_DIR / "cases.jsonl",
            f"{fingerprint(settings.BASE_DIR)} {asked['broker']}{' collapsed' if settings.CHAIN_COLLAPSE else ''}",
        )
        record.begin(asked["resume"])
        proven = record.proven(cases) if asked["resume"] else {}
        left = [case for case in cases if case.name not in proven]
        if proven:
            report.say(f"{len(proven)} cases were proven earlier on this code; {len(left)} are left.")
        with report.bar(len(left)) as show:
            fresh = matrix.prove(left, testbed, record, show)
        fallen = {outcome.order: outcome for outcome in matrix.judged_again(fresh, testbed)}
        outcomes = [*proven.values(), *(fallen.get(outcome.order, outcome) for outcome in fresh)]
        report.tables(outcomes)
        return outcomes


class EachOnce(Action):
    """Pairs into a dict; the same name twice is a mistake, and neither value would be the right one to take."""

    def __call__(self, parser: ArgumentParser, namespace: Namespace, given: Any, option_string: str | None = None) -> None:
        name, value = given
        before = getattr(namespace, self.dest)
        if name in before:
            raise ArgumentError(self, f"{name} is given twice: {before[name]} and {value}")
        setattr(namespace, self.dest, before | {name: value})


def provider(text: str) -> tuple[str, str]:
    """The setting that holds a provider's URL, and that URL."""
    setting, _, url = text.partition("=")
    if not setting.isupper() or not hasattr(settings, setting):
        raise ArgumentTypeError(f"{text!r} is not SETTING=URL: there is no setting {setting!r} in config/settings.py")
    if not is_http(url):
        raise ArgumentTypeError(f"{text!r} is not SETTING=URL: {url!r} is not http:// or https:// with a host")
    return setting, url.rstrip("/")


def is_http(url: str) -> bool:
    """As our settings see it, with a port that exists."""
    try:
        HTTP(url)
        return bool(url) and urlsplit(url).port != 0
    except (ValidationError, ValueError):
        return False


def _in_its_settings(stack: MatrixStack) -> int:
    """The same command again, as a process whose settings know this stack, in a session of its own; its exit code."""
    variables = {
        "RUN_DIR": stack.run_dir,
        "DATABASE_URL": stack.database,
        "CELERY_BROKER_URL": stack.broker,
        "SANDBOX_URL": stack.info["sandbox"],
        "CRASH_POINTS": stack.run_dir / CRASH,
        "TIME_SCALE": stack.options.time_scale,
        "DEMO_VALUES": 1,
        **stack.through,
    }
    environment = os.environ | {name: str(value) for name, value in variables.items()}
    process = subprocess.Popen([sys.executable, *sys.argv, "--running"], cwd=settings.BASE_DIR, env=environment, start_new_session=True)
    stack.note_the_prover(process.pid)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait(60)
        return NOTHING


def _summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "cases": [as_line(outcome) for outcome in outcomes],
        "injected": sum(outcome.injected for outcome in outcomes),
        "breaches": sum(not outcome.ok for outcome in outcomes),
    }
