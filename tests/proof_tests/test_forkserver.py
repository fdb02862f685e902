"""Promise: a process that the forkserver has forked is what a new Python would have been, and nothing of it is left when the tests have ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.engines import ROOT
from tests.proofs import forkserver
from tests.proofs.black_box.waiting import wait_for

SEVERAL = """
import os, sys, random, signal, time, uuid
print(os.getsid(0) == os.getpid(), os.getcwd(), sys.argv[1:], sys.path[0], os.environ.get("COLOUR"), "PATH" in os.environ, __name__, __file__)
print(sorted(os.listdir("/proc/self/fd")), signal.getsignal(signal.SIGCHLD), oct(os.umask(0)))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[forkserver.Forkserver]:
    """One that the test may end, beside the run's own."""
    server = forkserver.Forkserver()
    yield server
    server.end()


@pytest.fixture
def folder(tmp_path: Path, server: forkserver.Forkserver, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(forkserver.SOCKET, server.address)
    return tmp_path


def start(folder: Path, program: str, *words: str, **more: str) -> "subprocess.Popen[str]":
    """By the name by which a forked process is asked for."""
    (folder / "manage.py").write_text(program)
    return forkserver.Popen(
        [sys.executable, "manage.py", *(words or ("help",))],
        cwd=folder,
        env={**os.environ, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def said(folder: Path, program: str, *words: str, **more: str) -> str:
    output, trouble = start(folder, program, *words, **more).communicate(timeout=20)
    assert not trouble
    return output


def is_forked(process: "subprocess.Popen[str]", server: forkserver.Forkserver) -> bool:
    return bool(psutil.Process(process.pid).ppid() == server.pid)


def test_it_runs_as_a_new_python_would(folder: Path, server: forkserver.Forkserver, monkeypatch: pytest.MonkeyPatch) -> None:
    forked = said(folder, SEVERAL, "a", "b c", COLOUR="blue")
    monkeypatch.delenv(forkserver.SOCKET)
    executed = said(folder, SEVERAL, "a", "b c", COLOUR="blue")

    assert forked == executed
    assert "blue" in forked


def test_it_ends_with_its_exit_code_or_its_signal(folder: Path) -> None:
    assert start(folder, "import sys; sys.exit(7)").wait(20) == 7
    assert start(folder, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)").wait(20) == -signal.SIGKILL
    assert start(folder, "pass").wait(20) == 0

    refused = start(folder, "import sys; sys.exit('Refused')")
    assert (refused.communicate(timeout=20)[1], refused.returncode) == ("Refused\n", 1)

    failed = start(folder, "def wrong():\n    raise ValueError('no')\nwrong()")
    trouble = failed.communicate(timeout=20)[1]
    assert failed.returncode == 1
    assert trouble.startswith(f'Traceback (most recent call last):\n  File "{folder / "manage.py"}", line 3, in <module>')
    assert trouble.endswith("ValueError: no\n")


def test_what_is_registered_for_the_end_runs(folder: Path) -> None:
    program = "import atexit, threading; atexit.register(print, 'last'); threading.Thread(target=print, args=['thread']).start()"
    assert said(folder, program) == "thread\nlast\n"


def test_its_output_is_buffered_as_it_was_asked_to_be(folder: Path) -> None:
    """A log holds the last line of whoever is killed."""
    program = "import os, signal; print('written'); os.kill(os.getpid(), signal.SIGKILL)"
    environment = dict(os.environ)
    environment.pop("PYTHONUNBUFFERED", None)
    (folder / "manage.py").write_text(program)
    for more, wanted in (({}, ""), ({"PYTHONUNBUFFERED": "1"}, "written\n")):
        words = [sys.executable, "manage.py", "help"]
        run = forkserver.Popen(words, cwd=folder, env=environment | more, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert run.communicate(timeout=20)[0] == wanted


def test_two_of_them_share_no_random_number(folder: Path) -> None:
    program = "import random, uuid; print(random.random(), uuid.uuid4(), uuid.uuid1())"
    first, second = said(folder, program).split(), said(folder, program).split()

    assert not set(first) & set(second)


def test_others_see_its_own_words_and_variables(folder: Path, server: forkserver.Forkserver) -> None:
    process = start(folder, "import time; print('up', flush=True); time.sleep(60)", "sweep", "--once", COLOUR="blue")
    assert process.stdout is not None
    process.stdout.readline()
    seen = psutil.Process(process.pid)

    assert is_forked(process, server)
    assert seen.cmdline() == [sys.executable, "manage.py", "sweep", "--once"]
    assert seen.environ() == {**os.environ, "COLOUR": "blue"}
    assert process.poll() is None
    process.terminate()
    assert process.wait(20) == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


@pytest.mark.parametrize("more", [{}, {"PYTHONHASHSEED": "1"}])
def test_what_only_a_new_python_can_do_is_done_by_one(folder: Path, server: forkserver.Forkserver, more: dict[str, str]) -> None:
    (folder / "manage.py").write_text("import time; time.sleep(60)")
    words = [sys.executable, "manage.py", "help"] if more else [sys.executable, "-c", "import time; time.sleep(60)"]
    process = forkserver.Popen(words, cwd=folder, env=os.environ | more, start_new_session=True)

    assert psutil.Process(process.pid).ppid() == os.getpid()
    process.kill()
    process.wait(20)


def test_it_reads_no_settings_and_has_one_thread(folder: Path) -> None:
    program = "import sys, threading; from django.conf import settings; print(settings.configured, threading.active_count(), 'celery.app.base' in sys.modules)"
    ours = "print([name for name in sys.modules if name.split('.')[0] in ('config', 'orders', 'fulfillment', 'sideeffects', 'tests')])"

    assert said(folder, f"{program}\n{ours}") == "False 1 True\n[]\n"


def test_it_ends_with_whoever_started_it_and_with_the_last_that_it_forked(folder: Path) -> None:
    program = "from tests.proofs import forkserver; print(forkserver.Forkserver().pid, flush=True); import time; time.sleep(60)"
    starter = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    other = psutil.Process(int(starter.stdout.readline()))

    starter.kill()
    starter.wait()

    wait_for(lambda: not other.is_running(), 20)


def test_whoever_runs_on_is_still_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ending = forkserver.Forkserver()
    monkeypatch.setenv(forkserver.SOCKET, ending.address)
    process = start(folder, "import time; time.sleep(1); raise SystemExit(3)")
    ending.end(wait=False)

    assert process.wait(20) == 3
    ending.end()
    assert not Path(ending.address).exists()
