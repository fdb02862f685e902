"""As documented; with BENCH_TUNED=1, tuned."""

import os
from urllib.parse import parse_qs, urlsplit

from tests.bench.peers.programs.program import BROKER, DATABASE

IS_TUNED = os.environ.get("BENCH_TUNED") == "1"
_database = urlsplit(DATABASE)
SECRET_KEY = "plain"
USE_TZ = True
INSTALLED_APPS = ["tests.bench.peers.programs.plain"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _database.path[1:],
        "USER": _database.username or "",
        "HOST": parse_qs(_database.query)["host"][0],
        "CONN_MAX_AGE": None if IS_TUNED else 0,
    }
}
CELERY_BROKER_URL = BROKER
CELERY_RESULT_BACKEND = None if IS_TUNED else BROKER
if IS_TUNED:
    CELERY_TASK_IGNORE_RESULT = True
    CELERY_DB_REUSE_MAX = 1_000_000
    CELERY_WORKER_PREFETCH_MULTIPLIER = 32
