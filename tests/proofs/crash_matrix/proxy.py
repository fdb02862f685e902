"""The fault proxy: stands between the workers and a provider, and does to one idempotency key what its file says. Works with any provider on HTTP.

A fault is armed by a file in the proxy's folder, named ``<fault>.<order>.<step>.<do|compensate>``, whose content is how often it strikes (empty: once). The request
is recognised by the engine's key, ``<order>:<step>:<do|compensate>:<n>:<nonce>``, in its Idempotency-Key, else anywhere in it. Each strike is a line in
``<name>.hit``. Requests that change nothing (GET) are never touched. Imports no Django.
"""

import argparse
import asyncio
import contextlib
import json
import re
import signal
from dataclasses import dataclass
from pathlib import Path

import httpx

HOST = "127.0.0.1"
KEY = re.compile(r"(?<![\w-])([\w-]{1,80}):([\w-]{1,80}):(do|compensate):\d+(?::[a-z2-7]{10})?")
STANDS = "proxy.json"  # in the folder, while a proxy looks into it
KEY_HEADER = "idempotency-key"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "expect"}
MAX_REQUEST = 1024 * 1024  # bytes

FAULTS = {
    "timeout_applied": "done, and the answer is swallowed",
    "error_500_applied": "done, and answered 500",
    "refused_503": "answered 503, not passed on",
    "slow": "done late, and answered just within the deadline",
    "drip": "done, and answered a byte at a time",
    "garbage_200": "done, and answered 200 with something that is no answer",
    "in_progress_409": "answered 409 in_progress, not passed on",
    "late_landing": "never answered, and done after the caller has given up and asked again",
}


@dataclass(frozen=True)
class Pace:
    """Seconds at time scale 1."""

    scale: float
    slow_s: float = 6.0
    late_s: float = 25.0
    byte_s: float = 1.0
    silence_s: float = 60.0

    def scaled(self, seconds: float) -> float:
        return seconds * self.scale


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        """The engine's key that this request carries; empty: none."""
        named = self.headers.get(KEY_HEADER, "")
        found = KEY.search(named) or KEY.search(self.path.replace("%3A", ":")) or KEY.search(self.body.decode(errors="replace"))
        return found.group() if found else ""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def raw(self) -> bytes:
        kept = [(name, value) for name, value in self.headers if name.lower() not in HOP_BY_HOP]
        lines = [f"HTTP/1.1 {self.status} -", *(f"{name}: {value}" for name, value in kept)]
        return "\r\n".join([*lines, f"Content-Length: {len(self.body)}", "Connection: close", "", ""]).encode("latin-1") + self.body


def problem(status: int, code: str) -> Answer:
    """An error in the words of the sandbox; other providers' gateways go by the status."""
    body = json.dumps({"error": {"code": code, "message": "A fault on purpose."}}).encode()
    return Answer(status, [("Content-Type", "application/json")], body)


class Armed:
    """The folder: which fault strikes next under a key, and what has struck."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, key: str) -> tuple[str, Path] | None:
        """The fault that strikes now, and its file; one strike fewer is left."""
        order, step, direction = key.split(":")[:3]
        for fault in FAULTS:
            file = self.folder / f"{fault}.{order}.{step}.{direction}"
            if file.exists():
                left = int(file.read_text().strip() or 1) - 1
                file.write_text(str(left)) if left else file.unlink()
                self.note(file, f"struck {key}")
                return fault, file
        return None

    def note(self, file: Path, line: str) -> None:
        with file.with_name(f"{file.name}.hit").open("a") as hits:
            hits.write(f"{line}\n")


class Proxy:
    """One listening port in front of one provider."""

    def __init__(self, upstream: str, armed: Armed, pace: Pace) -> None:
        self.upstream = upstream.rstrip("/")
        self.armed = armed
        self.pace = pace
        self.client = httpx.AsyncClient(timeout=pace.scaled(pace.silence_s) + 5, trust_env=False)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await read(reader)
            struck = self.armed.take(request.key) if request.method != "GET" and request.key else None
            await (self._strike(*struck, request, reader, writer) if struck else self._pass(request, writer))
        except (OSError, ValueError, asyncio.IncompleteReadError, httpx.HTTPError):
            pass  # either side went away, or spoke no HTTP: the other one sees its line cut
        finally:
            with contextlib.suppress(OSError):
                writer.close()

    async def _pass(self, request: Request, writer: asyncio.StreamWriter) -> None:
        await say(writer, (await self._forward(request)).raw())

    async def _strike(self, fault: str, file: Path, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if fault == "refused_503":
            return await say(writer, problem(503, "unavailable").raw())
        if fault == "in_progress_409":
            return await say(writer, problem(409, "in_progress").raw())
        if fault == "late_landing":
            return await self._land_late(file, request)
        if fault == "slow":
            await asyncio.sleep(self.pace.scaled(self.pace.slow_s))
        answer = await self._forward(request)
        self.armed.note(file, f"landed {request.key}")
        if fault == "timeout_applied":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(1), self.pace.scaled(self.pace.silence_s))
        elif fault == "drip":
            for byte in answer.raw():
                await say(writer, bytes([byte]))
                await asyncio.sleep(self.pace.scaled(self.pace.byte_s))
        else:
            lies = {
                "error_500_applied": problem(500, "internal"),
                "garbage_200": Answer(200, [("Content-Type", "text/html")], b"<html>It wor"),
            }
            await say(writer, lies.get(fault, answer).raw())
        return None

    async def _land_late(self, file: Path, request: Request) -> None:
        """Whether or not the caller is still there."""
        await asyncio.sleep(self.pace.scaled(self.pace.late_s))
        try:
            await self._forward(request)
        finally:
            self.armed.note(file, f"landed {request.key}")

    async def _forward(self, request: Request) -> Answer:
        """Passed on whole, answered whole. Raises httpx.HTTPError."""
        headers = {name: value for name, value in request.headers.items() if name not in HOP_BY_HOP}
        async with self.client.stream(request.method, self.upstream + request.path, headers=headers, content=request.body) as answer:
            body = b"".join([chunk async for chunk in answer.aiter_raw()])
        return Answer(answer.status_code, list(answer.headers.items()), body)


async def read(reader: asyncio.StreamReader) -> Request:
    """One request. Raises ValueError: no HTTP, or too long, or of a length that is not given."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    length = int(headers.get("content-length", 0))
    if length > MAX_REQUEST or "transfer-encoding" in headers:
        raise ValueError("only requests of a known length are passed on")
    return Request(method, path, headers, await reader.readexactly(length))


async def say(writer: asyncio.StreamWriter, raw: bytes) -> None:
    writer.write(raw)
    await writer.drain()


async def run(routes: dict[int, str], folder: Path, pace: Pace) -> None:
    """Serve every route (port → provider) on loopback until SIGTERM."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    folder.mkdir(parents=True, exist_ok=True)
    for port, upstream in routes.items():
        await asyncio.start_server(Proxy(upstream, Armed(folder), pace).serve, HOST, port)
    (folder / STANDS).write_text(json.dumps(routes))
    await stop.wait()
    (folder / STANDS).unlink(missing_ok=True)


def route(text: str) -> tuple[int, str]:
    """``8901=http://127.0.0.1:8900``."""
    port, _, upstream = text.partition("=")
    return int(port), upstream


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tests.proofs.crash_matrix.proxy",
        description="Stand before a provider and do what files say. Example: --route 8901=http://127.0.0.1:8900 --folder .run/prove/faults",
    )
    parser.add_argument("--route", type=route, action="append", required=True, help="PORT=URL of the provider behind it; repeatable")
    parser.add_argument("--folder", type=Path, required=True, help="where faults are armed")
    parser.add_argument("--time-scale", type=float, default=1.0)
    asked = parser.parse_args()
    asyncio.run(run(dict(asked.route), asked.folder, Pace(asked.time_scale)))
