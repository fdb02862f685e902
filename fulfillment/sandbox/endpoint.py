"""HTTP as the sandbox speaks it: JSON in and out, problems included, keys in a header, and silence."""

import asyncio
import json
from collections.abc import Callable
from http.client import responses
from types import TracebackType
from typing import Any

from tornado.web import HTTPError, RequestHandler

from fulfillment.sandbox import fields
from fulfillment.sandbox.answers import Answer, Problem
from fulfillment.sandbox.idempotency import IdempotencyStore, Request

Read = Callable[..., Request]
Show = Callable[["Endpoint"], Any]
Act = Callable[[dict[str, Any]], Answer]


class Json(RequestHandler):
    """Whatever becomes of a request, its answer is JSON."""

    def say(self, answer: Answer) -> None:
        if answer.replayed:
            self.set_header("Idempotent-Replayed", "true")
        self.set_status(answer.status)
        self.finish(json.dumps(answer.body))

    def set_default_headers(self) -> None:
        self.set_header("Content-Type", "application/json")
        self.set_header("Server", "provider-sandbox")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        fault = kwargs.get("exc_info", (None, None, None))[1]
        if not isinstance(fault, Problem):
            reason = responses.get(status_code, "Error")
            fault = Problem(status_code, reason.lower().replace(" ", "_"), f"{reason}.")
        self.say(fault.answer())

    def log_exception(self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if not isinstance(value, Problem):
            super().log_exception(typ, value, tb)


class Endpoint(Json):
    """One path of a provider: ``read`` makes a Request of a POST, ``show`` answers a GET."""

    def initialize(
        self, store: IdempotencyStore | None = None, silence_s: float = 0.0, read: Read | None = None, show: Show | None = None
    ) -> None:
        self._store, self._silence_s, self._read, self._show = store, silence_s, read, show
        self._gone = asyncio.Event()

    def get(self, *_path: str) -> None:
        if self._show is None:
            raise HTTPError(405)
        self.finish(json.dumps(self._show(self)))

    async def post(self, *path: str) -> None:
        """A client that goes away does not stop what has begun: it lands all the same."""
        if self._read is None or self._store is None:
            raise HTTPError(405)
        request = self._read(self.request.path, self._key(), fields.read_object(self.request.body), *path)
        answer = await self._store.serve(request)
        if answer.silent:
            await self._say_nothing()
        else:
            self.say(answer)

    def parameter(self, name: str, default: str = "") -> str:
        """The query parameter ``name``."""
        return self.get_query_argument(name, default)

    def has_parameter(self, name: str) -> bool:
        return name in self.request.query_arguments

    def required(self, name: str) -> str:
        """The query parameter ``name``. Raises Problem 400."""
        value = self.parameter(name)
        if not value:
            raise Problem(400, "missing_field", f"The query parameter {name} is missing.", name)
        return value

    def _key(self) -> str:
        key: str = self.request.headers.get("Idempotency-Key", "").strip()
        if not 1 <= len(key) <= fields.MAX_LENGTH:
            raise Problem(
                400, "idempotency_key", f"The header Idempotency-Key must have 1 to {fields.MAX_LENGTH} characters.", "Idempotency-Key"
            )
        return key

    async def _say_nothing(self) -> None:
        """Keep the line open until the client goes away, or for a minute; then cut it."""
        try:
            await asyncio.wait_for(self._gone.wait(), self._silence_s)
        except TimeoutError:
            self.detach().close()

    def on_connection_close(self) -> None:
        self._gone.set()


class Lever(Json):
    """One path of the control: no keys, no silence; ``put`` and ``post`` act on a body."""

    def initialize(self, show: Callable[[], Any] | None = None, put: Act | None = None, post: Act | None = None) -> None:
        self._show, self._put, self._post = show, put, post

    def get(self) -> None:
        if self._show is None:
            raise HTTPError(405)
        self.finish(json.dumps(self._show()))

    def put(self) -> None:
        self._act(self._put)

    def post(self) -> None:
        self._act(self._post)

    def _act(self, act: Act | None) -> None:
        if act is None:
            raise HTTPError(405)
        self.say(act(fields.read_object(self.request.body)))


class Nowhere(Json):
    """Whatever is asked of a path that is not there."""

    def prepare(self) -> None:
        raise HTTPError(404)
