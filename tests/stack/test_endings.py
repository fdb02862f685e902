"""Promise: whoever stops it, and however, nothing is left behind; and a demo that ended well says so in its exit code."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil
import pytest

from config.management.commands import demo
from tests.engines import ROOT, RUN_DIR
from tests.proofs import prepared
from tests.proofs.black_box.waiting import wait_for
from tests.stack.test_stack import everybody, gone, manage

HERE = RUN_DIR / "terminal"
UP = "make -o .venv/.runtime -o .venv/bin/python up; :"  # what it needs is installed: these tests run in it


class InATerminal:
    """``make up``, typed into a shell on a terminal of its own."""

    def __init__(self) -> None:
        outer = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")}
        HERE.mkdir(parents=True, exist_ok=True)
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may have it ignored
            os.chdir(ROOT)
            os.execvpe("sh", ["sh", "-c", UP], outer | {"RUN_DIR": str(HERE), "TIME_SCALE": "0.1"})
        os.set_blocking(self.terminal, False)

    def read(self) -> None:
        """What it prints must go somewhere, or it would stand still."""
        try:
            while os.read(self.terminal, 4096):
                pass
        except OSError:
            return

    def is_up(self) -> bool:
        self.read()
        return (HERE / "stack.json").exists()

    def close(self) -> None:
        os.close(self.terminal)

    def sigterm(self) -> None:
        (make,) = psutil.Process(self.pid).children()
        make.terminate()


@pytest.fixture
def in_a_terminal() -> Iterator[InATerminal]:
    manage("up", "--stop", str(HERE))
    prepared.lay(HERE)
    yield InATerminal()
    manage("up", "--stop", str(HERE))


@pytest.mark.parametrize("ending", ["close", "sigterm"])
def test_a_closed_terminal_and_a_signal_to_make_stop_everything(in_a_terminal: InATerminal, ending: str) -> None:
    """I close the window, or whoever runs make ends it: all of its processes go, not one of them."""
    wait_for(in_a_terminal.is_up, within_s=90)
    everyone = everybody(json.loads((HERE / "stack.json").read_text()))
    assert len(everyone) > 10

    getattr(in_a_terminal, ending)()

    def ended() -> bool:
        in_a_terminal.read()
        return gone(everyone)

    wait_for(ended, within_s=60, every_s=0.2)
    os.waitpid(in_a_terminal.pid, 0)
    assert not (HERE / "stack.json").exists()


class Open:
    """A stack that stands open until Ctrl-C, which comes at once."""

    info: dict[str, Any] = dict.fromkeys(("web", "api", "flower", "sandbox", "token", "operator_token"), "") | {
        "admin": {"username": "", "password": ""},
        "flower_login": {"username": "", "password": ""},
    }

    def wait(self) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("well", "message"),
    [(True, None), (False, "The demo found something wrong, see above."), (None, "Interrupted: everything is stopped.")],
)
def test_a_demo_on_a_terminal_is_judged_by_what_it_showed(monkeypatch: pytest.MonkeyPatch, well: bool | None, message: str | None) -> None:
    """All was as promised, and I stopped it afterwards: that is no failure. Stopped before its end, it is none of a success."""

    class Showing:
        def __init__(self, *_: Any) -> None: ...

        def run(self, seed: int) -> bool:
            if well is None:
                raise KeyboardInterrupt
            return well

    monkeypatch.setattr(demo, "Stack", lambda *_: nullcontext(Open()))
    monkeypatch.setattr(demo, "Demo", Showing)
    monkeypatch.setattr(demo, "handle_signals", lambda: None)
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)

    with nullcontext() if message is None else pytest.raises(SystemExit, match=message):
        demo.Command().handle(seed=7)


@pytest.mark.timeout(60)
def test_a_signal_while_the_database_starts_leaves_none_behind(tmp_path: Path) -> None:
    """I change my mind at once: what had just begun to start is stopped too."""
    outer = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")}
    variables = outer | {"RUN_DIR": str(tmp_path), "DEMO_VALUES": "1"}
    up = subprocess.Popen([sys.executable, "manage.py", "up"], cwd=ROOT, env=variables, stdout=subprocess.DEVNULL)
    wait_for(lambda: (tmp_path / "postgres").exists(), within_s=20, every_s=0.01)

    up.terminate()
    up.wait(40)

    assert [process.pid for process in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(process.info["cmdline"] or ())] == []
