"""Promise: the proxy injects the fault that was armed, once, and touches nobody else."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.proofs.crash_matrix import proxy
from tests.proofs.crash_matrix.proxy import Armed, Pace, Proxy

KEY = "ORD-1:payment:do:1"
PATIENCE_S = 1.0
QUICK = Pace(0.05)  # slow: 0.3 s, late: 1.25 s, a byte: 0.05 s, silence: 3 s


class Provider:
    """Somebody who does whatever arrives, and answers 201."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await proxy.read(reader)
        self.done.append(f"{request.method} {request.path} {request.key}")
        await proxy.say(writer, proxy.Answer(201, [("X-Mine", "yes")], b'{"id": "ch_1"}').raw())
        writer.close()


@asynccontextmanager
async def proxied(folder: Path) -> AsyncIterator[tuple[Provider, str]]:
    """The provider, and the proxy's address in front of it."""
    provider = Provider()
    upstream = await asyncio.start_server(provider.serve, proxy.HOST, 0)
    url = f"http://{proxy.HOST}:{upstream.sockets[0].getsockname()[1]}"
    front = await asyncio.start_server(Proxy(url, Armed(folder), QUICK).serve, proxy.HOST, 0)
    async with upstream, front:
        yield provider, f"http://{proxy.HOST}:{front.sockets[0].getsockname()[1]}"


def posted(folder: Path, count: int = 1, key: str = KEY) -> tuple[list[str], list[str]]:
    """What ``count`` callers saw, one after the other, and what the provider did in the end."""

    async def scene() -> tuple[list[str], list[str]]:
        async with proxied(folder) as (provider, url), httpx.AsyncClient(trust_env=False) as client:
            seen = [await _one(client, url, key) for _ in range(count)]
            await asyncio.sleep(0.5)
            return seen, provider.done

    return asyncio.run(scene())


async def _one(client: httpx.AsyncClient, url: str, key: str) -> str:
    """As the shop's gateways call: one deadline for everything."""
    try:
        answer = await asyncio.wait_for(client.post(f"{url}/v1/charges", headers={"Idempotency-Key": key}, json={}), PATIENCE_S)
    except (httpx.TransportError, TimeoutError):
        return "no answer"
    return f"{answer.status_code} {answer.text[:14]}"


DONE = f"POST /v1/charges {KEY}"
WELL = '201 {"id": "ch_1"}'
FIRST = {
    "timeout_applied": ("no answer", [DONE, DONE]),
    "error_500_applied": ('500 {"error": {"co', [DONE, DONE]),
    "refused_503": ('503 {"error": {"co', [DONE]),
    "slow": (WELL, [DONE, DONE]),
    "drip": ("no answer", [DONE, DONE]),
    "garbage_200": ("200 <html>It wor", [DONE, DONE]),
    "in_progress_409": ('409 {"error": {"co', [DONE]),
    "late_landing": ("no answer", [DONE, DONE]),
}


@pytest.mark.parametrize("fault", proxy.FAULTS)
def test_a_fault_strikes_once_and_then_all_is_well(tmp_path: Path, fault: str) -> None:
    """The first caller meets it, whether or not the provider did it is as its name says, and the second one is served."""
    (tmp_path / f"{fault}.ORD-1.payment.do").write_text("")

    seen, done = posted(tmp_path, 2)

    assert seen == [FIRST[fault][0], WELL]
    assert done == FIRST[fault][1]
    assert (tmp_path / f"{fault}.ORD-1.payment.do.hit").read_text().startswith(f"struck {KEY}\n")


def test_what_is_slow_is_answered_within_the_deadline(tmp_path: Path) -> None:
    (tmp_path / "slow.ORD-1.payment.do").write_text("")
    begun = time.monotonic()

    seen, _ = posted(tmp_path)

    assert seen == [WELL]
    assert time.monotonic() - begun >= QUICK.scaled(QUICK.slow_s)


def test_what_is_late_lands_after_whoever_asked_again(tmp_path: Path) -> None:
    (tmp_path / "late_landing.ORD-1.payment.do").write_text("")

    seen, done = posted(tmp_path, 2)

    assert seen == ["no answer", WELL]
    assert done == [DONE, DONE]
    assert (tmp_path / "late_landing.ORD-1.payment.do.hit").read_text().splitlines() == [f"struck {KEY}", f"landed {KEY}"]


def test_a_fault_strikes_as_often_as_it_is_asked_to(tmp_path: Path) -> None:
    (tmp_path / "refused_503.ORD-1.payment.do").write_text("2")

    seen, done = posted(tmp_path, 3)

    assert [answer[:3] for answer in seen] == ["503", "503", "201"]
    assert done == [DONE]


@pytest.mark.parametrize("other", ["ORD-1:payment:compensate:1", "ORD-11:payment:do:1", "ORD-1:shipping:do:1", "none of the engine's keys"])
def test_nobody_else_is_lied_to(tmp_path: Path, other: str) -> None:
    """One order, one step, one direction: a refund that names its charge's key in the body is not taken for the charge."""
    (tmp_path / "refused_503.ORD-1.payment.do").write_text("")

    seen, _ = posted(tmp_path, 1, key=other)

    assert seen == [WELL]


def test_a_look_up_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "refused_503.ORD-1.payment.do").write_text("")

    async def scene() -> int:
        async with proxied(tmp_path) as (_, url), httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"{url}/v1/charges", params={"key": KEY})).status_code

    assert asyncio.run(scene()) == 201


def test_headers_and_bodies_pass_as_they_are(tmp_path: Path) -> None:
    async def scene() -> httpx.Response:
        async with proxied(tmp_path) as (_, url), httpx.AsyncClient(trust_env=False) as client:
            return await client.post(url, content=b"x" * 100_000)

    answer = asyncio.run(scene())
    assert (answer.status_code, answer.headers["X-Mine"], answer.json()) == (201, "yes", {"id": "ch_1"})
