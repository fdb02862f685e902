"""A stack whose processes reach the database through PgBouncer in transaction mode, each kind with a login of its own, as docs/settings.md tells.

``python -m tests.promises.pooled_stack`` runs it as ``manage.py up --without-flower`` runs the shop's own. Tables are made without the proxy, as the page advises.
"""

import os
import pwd
import re
import shutil
from dataclasses import replace
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from config.stack.ports import Port, listens
from config.stack.processes import Command
from config.stack.supervisor import Stack
from tests.proofs.black_box.stack import FOLDER
from tests.proofs.storms.deployable_stack import run

POOLER = "pooler"
PROGRAM = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
PROCESS_OF = {"saga": "worker", "sideeffects": "worker", "sweep": "sweep", "relay": "relay", "web": "web"}
PER_LOGIN = 2  # sessions of the server: fewer than any kind of process has connections
PAGE = FOLDER / "docs" / "settings.md"
SQL, INI = (re.compile(rf"### A pooling proxy.*?```{kind}\n(.*?)```", re.DOTALL) for kind in ("sql", "ini"))


def snippet(kind: re.Pattern[str]) -> str:
    found = kind.search(PAGE.read_text())
    assert found is not None
    return found[1]


class PooledStack(Stack):
    def _start_engines(self) -> None:
        super()._start_engines()
        self.port = Port(None, 6432, "")

    def _prepare(self) -> None:
        super()._prepare()
        with psycopg.connect(self.database, autocommit=True) as connection:
            connection.execute(self._scaled(snippet(SQL)).encode())
        self._spawn(self._pooler())
        self._wait_for(self._pooler())

    def _scaled(self, statements: str) -> str:
        """The page gives production's limits; what is marked × there is multiplied in a stack that runs faster."""
        return re.sub(r"= '(\d+)s'", lambda found: f"= '{int(found[1]) * 1000 * self.options.time_scale:.0f}ms'", statements)

    def _pooler(self) -> Command:
        as_whom = ["-u", pwd.getpwuid((self.run_dir / "postgres").stat().st_uid).pw_name] if os.geteuid() == 0 else []
        return Command(POOLER, [PROGRAM, *as_whom, str(self._settings())], {}, lambda: listens(self.port.number))

    def _settings(self) -> Path:
        """Of PgBouncer: those of the page, and where it stands here."""
        server = conninfo_to_dict(self.database)
        where = f"host={server['host']} dbname={server['dbname']}"
        own = f"listen_addr = 127.0.0.1\nlisten_port = {self.port.number}\nunix_socket_dir =\nauth_type = trust\nadmin_users = shop_web\n"
        users, file = self.run_dir / "pgbouncer.users", self.run_dir / "pgbouncer.ini"
        users.write_text("".join(f'"shop_{process}" ""\n' for process in dict.fromkeys(PROCESS_OF.values())))
        file.write_text(f"[databases]\nshop = {where}\n\n{snippet(INI)}{own}auth_file = {users}\ndefault_pool_size = {PER_LOGIN}\n")
        for one in (users, file):
            one.chmod(0o644)
        return file

    def url(self, process: str) -> str:
        return f"postgresql://shop_{process}@127.0.0.1:{self.port.number}/shop"

    def _commands(self) -> list[Command]:
        return [
            replace(one, env={**one.env, **self._through_the_proxy(one.role)}) if one.role in PROCESS_OF else one
            for one in super()._commands()
        ]

    def _through_the_proxy(self, role: str) -> dict[str, str]:
        return {"DATABASE_URL": self.url(PROCESS_OF[role]), "COMMAND_DATABASE_URL": self.database, "PREPARED_STATEMENTS": "0"}

    def _everybody(self) -> dict[str, list[int]]:
        return super()._everybody() | {POOLER: self.pids(POOLER)}

    def _stop_everything(self) -> None:
        """The proxy leaves last."""
        pooler = self.children.get(POOLER)
        super()._stop_everything()
        if pooler is not None:
            pooler.ask_to_stop()
            pooler.wait_until_gone()


if __name__ == "__main__":
    run(PooledStack)
