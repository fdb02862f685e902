"""Promise: a stack never takes somebody else's server for its own, whoever is faster."""

import shutil
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from config.stack.errors import StackError
from config.stack.options import StackOptions
from config.stack.ports import Port, PortTaken, is_held_by
from config.stack.processes import Command
from config.stack.supervisor import Stack
from tests.engines import ROOT, RUN_DIR
from tests.promises.conftest import Shop
from tests.proofs import prepared
from tests.proofs.black_box.stack import RunningStack
from tests.stack.test_stack import manage

ANSWER = (
    "import http.server, sys; http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()"
)
QUIET = 18_000  # nobody else's range


def test_two_stacks_that_start_together_are_two_shops() -> None:
    """I start the shop in two checkouts at the same time: each has its own ports, and its own bank."""
    folders = [RUN_DIR / name for name in ("twin-a", "twin-b")]
    for folder in folders:
        manage("up", "--stop", RUN_DIR=str(folder))
        shutil.rmtree(folder, ignore_errors=True)
        prepared.lay(folder)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(RunningStack, folders))
    try:
        shops = [Shop(stack) for stack in both]
        for address in ("web", "flower", "sandbox"):
            assert shops[0].stack.info[address] != shops[1].stack.info[address]
        for count, shop in enumerate(shops, start=1):
            for number in shop.place_many(count):
                assert shop.ends(number, 60) == "fulfilled"
        acted = [len(httpx.get(f"{shop.stack.info['sandbox']}/ledger").json()) for shop in shops]
        assert acted == [2, 4], "a charge and a label for each order, and none of the other shop's"
    finally:
        for stack in both:
            stack.stop()


def test_a_reserved_port_is_given_to_nobody_else_until_it_is_released() -> None:
    """Though nobody listens there yet."""
    first, second = Port(None, QUIET, "X_PORT"), Port(None, QUIET, "X_PORT")

    assert second.number > first.number
    with pytest.raises(PortTaken, match=f"Port {first.number} is taken: set X_PORT to another one"):
        Port(first.number, QUIET, "X_PORT")
    first.release()
    third = Port(None, QUIET, "X_PORT")
    assert third.number == first.number
    for port in (second, third):
        port.release()


class Shopfront(Stack):
    """Only a web server, and no engines."""

    def _commands(self) -> list[Command]:
        return [Command("web", [sys.executable, "-c", ANSWER, str(self.ports["web"].number)])]


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def shopfront(tmp_path: Path, lines: list[str], request: pytest.FixtureRequest) -> Iterator[Shopfront]:
    stack = Shopfront(StackOptions(folder=ROOT, run_dir=tmp_path, time_scale=1.0, web_port=getattr(request, "param", None)), lines.append)
    stack.run_dir.mkdir(exist_ok=True)
    stack.addresses.reserve()
    yield stack
    stack._stop_children((("web",),))
    for port in stack.ports.values():
        port.release()


def listening(number: int) -> socket.socket:
    stranger = socket.socket()
    stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    stranger.bind(("127.0.0.1", number))
    stranger.listen()
    return stranger


def test_a_port_that_a_stranger_took_after_it_was_chosen_is_left_to_him(shopfront: Shopfront, lines: list[str]) -> None:
    """Somebody's server answers where mine was to be: mine moves on, and never takes his for its own."""
    chosen = shopfront.ports["web"].number
    with listening(chosen):
        shopfront._start_the_shop()

        moved = shopfront.ports["web"].number
        assert moved != chosen
        assert is_held_by(shopfront.children["web"].pid, moved)
    assert f"port {chosen} was taken by somebody else meanwhile: web moves to {moved}" in lines


@pytest.mark.parametrize("shopfront", [QUIET + 300], indirect=True)
def test_a_port_that_was_asked_for_and_was_taken_meanwhile_is_named(shopfront: Shopfront) -> None:
    with listening(QUIET + 300), pytest.raises(StackError, match="set WEB_PORT to another one"):
        shopfront._start_the_shop()
