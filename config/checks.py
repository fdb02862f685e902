"""The system checks, in processes whose framework runs them and ignores the result: such a process refuses to start."""

import sys
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register, run_checks

from config.secret_key import weakness

MAKE_ONE = "This makes one: python -c 'import secrets; print(secrets.token_urlsafe(50))'"
BOOT_ERROR = 3  # gunicorn gives up on a worker that ends with this, and would start any other again for ever


def refuse_to_start(process: str, has_login: bool = True) -> None:
    """Exit 1 (a web process: 3) with every error of the system checks; warnings pass. ``has_login``: its pages ask who is there."""
    wrong = serious()
    if process == "web" and not settings.DEBUG:
        wrong += secret_key_is_secret()
    if not has_login:
        wrong.append(Error("Flower has no login.", hint="Set FLOWER_BASIC_AUTH to user:password, or configure --auth.", id="config.E003"))
    if wrong:
        message = "\n".join(f"  {found.id}: {found.msg}" + (f"\n      → {found.hint}" if found.hint else "") for found in wrong)
        sys.stderr.write(f"Refused to start ({process}):\n{message}\n")
        sys.stderr.flush()
        sys.exit(BOOT_ERROR if process == "web" else 1)


def serious() -> list[CheckMessage]:
    """What the system checks refuse; warnings pass."""
    return [found for found in run_checks(databases=["default"]) if found.is_serious()]


@register(Tags.security, deploy=True)
def secret_key_is_secret(*_: Any, **__: Any) -> list[CheckMessage]:
    """The demo may have any key. Of the other processes only the web process signs with it, so it alone refuses to start."""
    hint = "Set it to 50 or more random characters, the same for every web process."
    if settings.SECRET_KEY_IS_MADE_UP:
        return [Error("SECRET_KEY is not set.", hint=hint, id="config.E002")]
    weak = "" if settings.DEMO_VALUES else weakness(settings.SECRET_KEY, settings.RUN_DIR / "secret_key")
    return [Error(f"SECRET_KEY {weak}.", hint=f"{hint} {MAKE_ONE}", id="config.E004")] if weak else []


@register(Tags.database)
def database_is_known(app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    if settings.DATABASE_IS_KNOWN or not databases:
        return []
    hint = "Start the whole shop with `make up`, or for maintenance alone `manage.py up --maintenance`; or set DATABASE_URL."
    return [Error("There is no database.", hint=hint, id="config.E001")]


@register(Tags.security, deploy=True)
def rate_limits_are_counted(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if settings.RATE_LIMIT_URL or not any(settings.RATE_LIMITS_PER_MIN.values()):
        return []
    hint = "Set RATE_LIMIT_URL to a Valkey or Redis: the broker is none. Or set every …_PER_MIN to 0."
    return [Warning("Nobody counts the requests of API clients: their limits are not in force.", hint=hint, id="config.W001")]
