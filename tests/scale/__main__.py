"""``python -m tests.scale FOLDER``: a run directory with a million orders, made once. ``RUN_DIR=FOLDER manage.py up`` opens that shop. Options come before FOLDER.

``python -m tests.scale FOLDER manage.py reconcile --since 48``: a command on it, with its database and its provider, and how long it took.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import time
from datetime import UTC
from pathlib import Path

import django
import psutil
import psycopg

from config.stack import embedded
from tests.scale.copying import Copies

MADE = "scale.json"  # in the folder: what is in it, once it is whole
CHARGE = (
    "INSERT INTO charges (profile, id, key, order_number, amount, currency, token, at, refunded) VALUES ('', ?, ?, ?, ?, ?, 'tok_ok', ?, ?)"
)
LABEL = "INSERT INTO labels (profile, id, key, order_number, tracking, postal_code, at) VALUES ('', ?, ?, ?, ?, '', ?)"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.scale", description=__doc__)
    parser.add_argument("folder", type=Path, help="the run directory to make; one that is there is left as it is")
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--newest", type=int, default=5_000, help="so many of them were placed in the 48 hours before it was made")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="of python, to be run on it")
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    url = embedded.start_postgres(folder)
    try:
        _set_up(folder, url)
        if not (folder / MADE).exists():
            _make(folder, url, asked.orders, asked.newest)
        _say(json.loads((folder / MADE).read_text()))
        code = _run(folder, asked.command) if asked.command else 0
    finally:
        embedded.stop_postgres(folder)
    sys.exit(code)


def _set_up(folder: Path, url: str) -> None:
    """The settings are read here, once there is a database."""
    os.environ |= {"DJANGO_SETTINGS_MODULE": "config.settings", "DATABASE_URL": url, "RUN_DIR": str(folder), "DEMO_VALUES": "1"}
    os.environ["CELERY_BROKER_URL"] = f"redis+socket://{folder}/no-broker"
    django.setup()


def _run(folder: Path, command: list[str]) -> int:
    """With the provider's sandbox beside it."""
    from tests.fulfillment.conftest import SandboxProcess

    provider = SandboxProcess(folder / "sandbox.sqlite3")
    try:
        begun, before = time.monotonic(), (_cpu_s(os.getpid()), _cpu_s(embedded.postgres_pid(folder)))
        code = subprocess.run([sys.executable, *command], env=os.environ | {"SANDBOX_URL": provider.url}).returncode
        took_s = time.monotonic() - begun
        time.sleep(1)  # until its session has ended, too
        own, database = _cpu_s(os.getpid()) - before[0], _cpu_s(embedded.postgres_pid(folder)) - before[1]
        print(
            f"{' '.join(command)}: exit {code}, {took_s:.1f} s (CPU: {own:.1f} s of its own, {database:.1f} s of the database)", flush=True
        )
    finally:
        provider.end()
    return code


def _cpu_s(pid: int | None) -> float:
    """Of a process and of all its children that have ended: on a busy machine the clock on the wall says little."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def _make(folder: Path, url: str, orders: int, newest: int) -> None:
    from tests.scale.placing import real_orders

    begun = time.monotonic()
    templates = real_orders(folder)
    with psycopg.connect(url, autocommit=True) as connection:
        copies = Copies(connection, templates, orders, newest)
        copies.make(lambda done: print(f"{done:,} of {orders:,} orders, {time.monotonic() - begun:.0f} s", flush=True))
        _fill_the_provider(folder / "sandbox.sqlite3", copies)
        connection.execute("VACUUM ANALYZE")
        (size,) = connection.execute("SELECT pg_database_size(current_database())").fetchone() or (0,)
    made = {"orders": orders, "newest": newest, "bytes": size, "seconds": round(time.monotonic() - begun), "made_at": time.time()}
    made["provider_bytes"] = (folder / "sandbox.sqlite3").stat().st_size
    (folder / MADE).write_text(json.dumps(made))


def _fill_the_provider(ledger: Path, copies: Copies) -> None:
    """What it lists: a charge for every order that was paid, given back where it was compensated, and a label for every parcel."""
    provider = sqlite3.connect(ledger)
    with provider, copies.connection.transaction():
        for n, (number, step, key, amount, currency, is_compensated, at) in enumerate(copies.sold()):
            instant = at.astimezone(UTC).isoformat(timespec="microseconds")
            if step == "payment":
                provider.execute(CHARGE, (f"ch_m{n}", key, number, amount, currency, instant, amount if is_compensated else 0))
            else:
                provider.execute(LABEL, (f"lb_m{n}", key, number, f"TRACK{n}", instant))
    provider.close()


def _say(made: dict[str, float]) -> None:
    hours = 48 + (time.time() - made["made_at"]) / 3600
    print(
        f"{made['orders']:,} orders: database {made['bytes'] / 2**30:.1f} GiB, provider's ledger {made['provider_bytes'] / 2**30:.1f} GiB,"
        f" made in {made['seconds']:,} s. Its newest {made['newest']:,}: manage.py reconcile --since {hours:.1f}"
    )


if __name__ == "__main__":
    main()
