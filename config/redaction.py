"""Redaction: passwords are blotted out, by value, in the log of a process, and in what a worker answers to ``celery inspect`` and Flower."""

import functools
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings

BLOT = "********"
SHORTEST = 4  # blotting out less would make a log unreadable, and show how little there is to guess


@functools.cache
def passwords() -> tuple[str, ...]:
    """Of this process, the longest first; as they stand in a URL, and decoded."""
    brokers = settings.CELERY_BROKER_URL.split(";")  # one URL may name several
    urls = [settings.EXTERNAL_DATABASE_URL, settings.COMMAND_DATABASE_URL, settings.EMAIL_URL, settings.RATE_LIMIT_URL, *brokers]
    in_urls = [urlsplit(url).password or "" for url in urls]
    written = [*in_urls, settings.SECRET_KEY, settings.OPERATOR_TOKEN, settings.EMAIL_HOST_PASSWORD or ""]
    known = {form for password in written for form in (password, unquote(password)) if len(form) >= SHORTEST}
    return tuple(sorted(known, key=len, reverse=True))


def redacted(value: Any) -> Any:
    """The same, without passwords: of a text, or of all values in what JSON can hold. Names stay: a password may be a common word."""
    if isinstance(value, str):
        for password in passwords():
            value = value.replace(password, BLOT)
        return value
    if isinstance(value, dict):
        return {key: redacted(item) for key, item in value.items()}
    return [redacted(item) for item in value] if isinstance(value, list | tuple) else value


def redacting(answer: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(answer)
    def redacted_answer(*args: Any, **asked: Any) -> Any:
        return redacted(answer(*args, **asked))

    return redacted_answer
