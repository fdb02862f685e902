"""The processes of the shop: which program with which words and variables each of them is.

This is the one place. The supervisor starts these commands, ``manage.py doctor`` names the one that is missing, and docs/deploying.md and the runbooks show them;
tests/stack/test_commands.py compares. Imports no Django: the supervisor starts the database that the settings need.
"""

import shlex
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from config.stack import worker_settings
from config.stack.addresses import Addresses
from config.stack.ports import listens
from config.stack.processes import Command
from config.stack.run_directory import secret

OF_THE_SHOP = ("DATABASE_URL", "CELERY_BROKER_URL")


@dataclass(frozen=True, kw_only=True)
class Process:
    """``command``: as an operator types it; ``here``: what a stack on one machine adds. ``variables``: what it cannot work without. ``queues``: what it consumes.

    In both, ``{port}``, ``{run_dir}`` and ``{time_scale}`` are the stack's.
    """

    does: str
    command: str
    here: str = ""
    variables: tuple[str, ...] = OF_THE_SHOP
    queues: tuple[str, ...] = ()


# In the order in which they start: Flower last, because it asks the workers who they are.
PROCESSES = {
    "sandbox": Process(
        does="plays the providers in a demo",
        command="python -m fulfillment.sandbox --port {port} --ledger {run_dir}/sandbox.sqlite3 --time-scale {time_scale}",
        variables=(),
    ),
    "mail": Process(
        does="catches mail in a demo",
        command="python -m config.stack.embedded --port {port} --dir {run_dir}/mail",
        variables=("EMAIL_URL",),
    ),
    "saga": Process(
        does="runs steps and their compensations, compensations first",
        command=worker_settings.worker("compensation,saga", "saga"),
        here=worker_settings.more(worker_settings.SAGA_PROCESSES),
        queues=("compensation", "saga"),
    ),
    "sideeffects": Process(
        does="delivers facts to subscribers",
        command=worker_settings.worker("sideeffects", "sideeffects"),
        here=worker_settings.more(worker_settings.SIDE_EFFECT_PROCESSES),
        variables=(*OF_THE_SHOP, "EMAIL_URL"),
        queues=("sideeffects",),
    ),
    "sweep": Process(does="finds the sagas that are due and publishes them; starts the reconciliation", command="python manage.py sweep"),
    "relay": Process(
        does="finds the deliveries that are due and publishes them; sends events to the bus", command="python manage.py relay"
    ),
    "web": Process(
        does="answers clients, operators and probes",
        command="gunicorn -c python:config.edge.server config.wsgi --workers 2 --threads 4",
        here="--bind 127.0.0.1:{port} --worker-tmp-dir {run_dir} --no-control-socket",
        variables=(*OF_THE_SHOP, "SECRET_KEY"),
    ),
    "flower": Process(
        does="shows tasks and workers; the shop works without it",
        command="celery -A config flower --address=127.0.0.1 --read_only=True",
        here="--port={port} --persistent=True --db={run_dir}/flower --state_save_interval=10000 --max_tasks=20000 --purge_offline_workers=300",
        variables=(*OF_THE_SHOP, "FLOWER_BASIC_AUTH"),
    ),
}
CONSUMERS = {queue: process.command for process in PROCESSES.values() for queue in process.queues}
QUEUES = tuple(CONSUMERS)


def commands(addresses: Addresses, environment: Mapping[str, str]) -> list[Command]:
    """Of one stack, in the order in which they start."""
    answering: dict[str, Callable[[], bool]] = {
        "sandbox": lambda: answers(addresses.url("sandbox") + "/healthz"),
        "mail": lambda: listens(addresses.ports["mail"].number),
        "web": lambda: answers(addresses.url("web") + "/healthz"),
        "flower": lambda: answers(addresses.url("flower") + "/healthcheck"),
    }
    # A command line is read by everybody on the machine, an environment is not.
    login = {"FLOWER_BASIC_AUTH": ":".join(addresses.flower_login().values())}
    return [
        Command(role, _argv(role, addresses), {**environment, **(login if role == "flower" else {})}, answering.get(role, lambda: True))
        for role in PROCESSES
        if role not in addresses.options.left_out
    ]


def _argv(role: str, addresses: Addresses) -> list[str]:
    """Run by this Python: nobody's PATH has to know its programs."""
    process = PROCESSES[role]
    values = {
        "port": addresses.ports[role].number if role in addresses.ports else None,
        "run_dir": addresses.run_dir,
        "time_scale": addresses.options.time_scale,
    }
    program, *words = [word.format_map(values) for word in shlex.split(f"{process.command} {process.here}")]
    return [sys.executable, *([] if program == "python" else ["-m", program]), *words]


def environment(addresses: Addresses, database: str, broker: str) -> dict[str, str]:
    """What every process of one stack is given."""
    return {
        "DATABASE_URL": database,
        "CELERY_BROKER_URL": broker,
        "SANDBOX_URL": addresses.url("sandbox"),
        "FLOWER_URL": addresses.flower_url(),
        "EMAIL_URL": addresses.email_url(),
        "BUS_URL": broker.partition(";")[0],
        "RUN_DIR": str(addresses.run_dir),
        "SECRET_KEY": secret(addresses.run_dir / "secret_key"),
        "TIME_SCALE": str(addresses.options.time_scale),
        "DEMO_VALUES": "1",
        "OPERATOR_TOKEN": "",  # a person's, whose shell starts us: no process decides in their name
        "PYTHONUNBUFFERED": "1",
        "LOG_FORMAT": "line",  # its logs are files, and people read them
    }


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
