"""Promise: the layout is as it is described. A newcomer finds things where their names say."""

import ast
import importlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from celery import Task
from django.core.management import get_commands
from django.dispatch import Signal

from config.celery import app
from fulfillment import tasks
from fulfillment.engine import Launch
from fulfillment.errors import StepError
from fulfillment.steps import STEPS
from orders.events import EVENTS, OrderFulfilled, order_fulfilled, signal_of
from sideeffects import discovery
from sideeffects import tasks as side_effects
from tests import budgets
from tests.engines import ROOT

TOP = {
    "manage.py", "config", "orders", "fulfillment", "sideeffects", "tests", "requirements.txt",
    "README.md", "Makefile", "pyproject.toml", "docs", "LICENSE", "CHANGELOG.md",
}  # fmt: skip
MODULE = re.compile(r"``([a-z_]+(?:\.[a-z_]+)*)``")
VAGUE = re.compile(r"(^|_)(utils?|helpers?|common|services?|misc)\.py$")
READS_THE_ENVIRONMENT = {
    "config/settings.py",
    "config/stack/processes.py",
    "config/stack/supervisor.py",
    "config/stack/embedded.py",
}


def tracked() -> list[str]:
    return subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


def code() -> Iterator[tuple[str, str]]:
    for name in tracked():
        if name.endswith(".py") and (ROOT / name).exists():
            yield name, (ROOT / name).read_text()


def docs() -> str:
    return "\n".join(file.read_text() for file in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))])


def test_the_top_level_is_the_layout() -> None:
    assert {name.split("/")[0] for name in tracked() if not name.startswith(".")} == TOP


def test_no_file_has_a_vague_name() -> None:
    assert [name for name in tracked() if VAGUE.search(Path(name).name)] == []


def test_every_package_says_what_it_is_and_names_modules_that_exist() -> None:
    """I open a folder, and read what lives there, what it may import and what must stay."""
    for name, text in code():
        folder = Path(name).parent
        if Path(name).name == "__init__.py" and not {"migrations", "formats"} & {*folder.parts} and _is_the_shop_s(name):
            docstring = ast.get_docstring(ast.parse(text))
            assert docstring, name
            assert [word for word in MODULE.findall(docstring) if not _is_known(word, folder)] == [], name


def _is_the_shop_s(name: str) -> bool:
    return name.startswith(("config/", "orders/", "fulfillment/", "sideeffects/", "tests/proofs/"))


def _is_known(word: str, folder: Path) -> bool:
    """A module or a package within it, beside it, or by its whole name; or a command."""
    places = [ROOT / folder / word, ROOT / folder.parent / word, ROOT / word.replace(".", "/")]
    return word in get_commands() or any(place.is_dir() or place.with_suffix(".py").is_file() for place in places)


def test_the_environment_is_read_in_one_file() -> None:
    """Starting children and choosing the settings module is the supervisor's business; reading variables is not."""
    readers = {name for name, text in code() if re.search(r"os\.(environ|getenv)", text) and not name.startswith("tests/")}

    choosing = {
        "config/celery.py",
        "config/edge/server.py",
        "config/wsgi.py",
        "manage.py",
        "config/management/commands/demo.py",
        "tests/proofs/storms/deployable_stack.py",
    }
    assert readers - READS_THE_ENVIRONMENT <= choosing


def test_the_engine_alone_writes_the_journal_except_for_what_it_names() -> None:
    """What decides about money has one writer. The sentence stands in the engine's docstring; here are its exceptions, by file and column."""
    found: dict[str, set[str]] = {}
    for name, text in code():
        if name.startswith(("config/", "fulfillment/", "orders/", "sideeffects/")) and "/migrations/" not in name:
            columns = {*_written_by_the_orm(text), *_written_by_sql(name, text), *_written_by_erasure(text)}
            found |= {name: columns} if columns else {}
            assert "_default_manager" not in text, name  # it writes rows of any model

    inside = {name for name in found if name.startswith("fulfillment/engine/")}
    assert {Path(name).stem for name in inside} == {"journal", "attempt_keys", "tries", "backlog"}
    statements = [name for name in tracked() if name.endswith(".sql") and SQL.search((ROOT / name).read_text())]
    assert statements == ["fulfillment/queries.sql"]  # run by the engine's hot path
    assert {name: columns for name, columns in found.items() if name not in inside} == ALSO_WRITES_THE_JOURNAL


JOURNAL = {"Saga", "StepRecord", "PastAttempt"}
ALSO_WRITES_THE_JOURNAL = {
    "fulfillment/models.py": {"*"},  # a trigger keeps due_from
    "fulfillment/recovery/sweep.py": {"wake_at", "launched_at", "relaunches", "deadline_at", "paused_s"},
    "fulfillment/recovery/circuits.py": {"wake_at"},
    "fulfillment/recovery/clock_jumps.py": {
        *("wake_at", "launched_at", "held_at", "left_since", "deadline_at"),
        *("scheduled_at", "first_started_at", "started_at", "asked_until", "compensation_scheduled_at", "compensation_asked_until"),
    },
    "fulfillment/pruning.py": {"history_pruned_at"},
    "fulfillment/erasure.py": {"error_message", "evidence", "receipt", "compensation_receipt", "message"},
}
WRITES = {"update", "create", "bulk_create", "bulk_update", "get_or_create", "update_or_create", "save", "delete"}
SQL = re.compile(
    r"(?:UPDATE|INSERT INTO|DELETE FROM) fulfillment_(?:saga|steprecord|pastattempt)\b(.*?)(?:\bWHERE\b|\bFROM\b|$)", re.DOTALL
)


def _calls(text: str) -> Iterator[ast.Call]:
    return (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))


def _root(node: ast.expr) -> str:
    """``Saga`` of ``Saga.objects.filter(…).update``."""
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return node.id if isinstance(node, ast.Name) else ""


def _written_by_the_orm(text: str) -> Iterator[str]:
    """A column whose name is not written out, or a whole row, is "*"."""
    for call in _calls(text):
        if isinstance(call.func, ast.Attribute) and call.func.attr in WRITES and _root(call.func) in {*JOURNAL, "saga", "record"}:
            is_update = call.func.attr == "update"
            yield from (keyword.arg or "*" for keyword in call.keywords) if is_update else ["*"]


def _written_by_sql(name: str, text: str) -> Iterator[str]:
    """By the module's constants, as they are once it is loaded: a statement may be put together."""
    if not SQL.search(text):
        return
    constants = [
        value for value in vars(importlib.import_module(name.removesuffix(".py").replace("/", "."))).values() if isinstance(value, str)
    ]
    found = {column for value in constants for clause in SQL.findall(value) for column in re.findall(r"(\w+)\s*=(?![=>])", clause)}
    yield from found or {"*"}


def _written_by_erasure(text: str) -> Iterator[str]:
    """It writes rows of any model, by ``_changed(rows, marks, *columns)``."""
    for call in _calls(text):
        if ast.unparse(call.func).endswith("changed") and call.args and _root(call.args[0]) in JOURNAL:
            yield from (str(arg.value) for arg in call.args if isinstance(arg, ast.Constant))


def test_nothing_runs_eagerly() -> None:
    """An eager task has no queue, no redelivery and no errback worth trusting."""
    word = "task_always" + "_eager"
    assert [name for name, text in code() if word in text.lower()] == []


def test_a_fact_has_one_sender_and_one_receiver() -> None:
    """One function sends the signal of each event; ``order_fulfilled`` is one of them."""
    sends = re.compile(r"(order_fulfilled|signal_of\(\w+\))\.send")
    senders = [name for name, text in code() if sends.search(text) and not name.startswith("tests/")]

    assert senders == ["orders/facts.py"]
    assert isinstance(order_fulfilled, Signal)
    assert signal_of(OrderFulfilled) is order_fulfilled
    assert len(order_fulfilled.receivers) == 1
    assert all(len(signal_of(event).receivers) <= 1 for event in EVENTS)


def test_the_errback_is_queued_not_run_inline() -> None:
    """Celery queues an errback that is bound, and runs most others inside the failing process."""
    launch = Launch(saga=1, epoch=1, order="ORD-1", compensating=False, steps=("payment",))
    errback = tasks.errback(launch)

    assert app.tasks[str(errback.task)].__bound__
    assert isinstance(app.tasks[str(errback.task)], Task)
    assert errback.immutable
    assert errback.kwargs == {"saga": 1, "epoch": 1, "order": "ORD-1"}


def test_a_refund_never_waits_behind_new_orders() -> None:
    def queue(name: str) -> str:
        return str(app.amqp.router.route({}, name)["queue"].name)

    assert {queue(f"fulfillment.{step.name}") for step in STEPS} == {"saga"}
    assert {queue(f"fulfillment.compensate_{step.name}") for step in STEPS} | {queue("fulfillment.failed")} == {"compensation"}
    assert {queue(task.name) for task in side_effects.TASKS.values()} == {"sideeffects"}


def test_a_message_carries_no_state_and_no_personal_data() -> None:
    launch = Launch(saga=1, epoch=2, order="ORD-1", compensating=True, steps=("shipping", "inventory", "payment"))

    for signature in tasks.signatures(launch):
        assert signature.kwargs == {"saga": 1, "epoch": 2, "order": "ORD-1"}
    assert next(signature.options["task_id"] for signature in tasks.signatures(launch)) == "ORD-1.compensate_shipping.e2"


def test_every_setting_is_documented() -> None:
    calls = _calls((ROOT / "config/settings.py").read_text())
    named = [call.args[0] for call in calls if call.args and re.fullmatch(r"env\.\w+|scaled", ast.unparse(call.func))]
    read = [str(name.value) for name in named if isinstance(name, ast.Constant)]
    text = (ROOT / "docs/settings.md").read_text()

    assert len(read) > 40
    assert [name for name in read if f"`{name}`" not in text] == []


def test_every_error_step_subscriber_and_command_is_documented() -> None:
    text = docs()
    errors = [error.__name__ for error in StepError.__subclasses__()]
    commands = [Path(name).stem for name in tracked() if "/management/commands/" in name and not name.endswith("__init__.py")]
    expected = errors + [step.name for step in STEPS] + discovery.names() + commands

    assert [name for name in expected if f"`{name}`" not in text] == []


def test_every_answer_names_its_code_and_a_test_that_exists() -> None:
    """No claim without a test."""
    answers = (ROOT / "docs/questions.md").read_text().split("\n### ")[1:]

    assert len(answers) >= 24
    for answer in answers:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", answer)
        assert "\n- Code: `" in answer and named, answer
        assert [(file, test) for file, test in named if f"def {test}(" not in (ROOT / file).read_text()] == []


def test_the_slowest_files_are_those_that_the_page_names() -> None:
    """`python -m tests.budgets` writes both."""
    assert budgets.page_with(budgets.table()) == budgets.PAGE.read_text()
    assert [file for file in budgets.kept() if not (ROOT / file).exists()] == []
