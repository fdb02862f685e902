"""What Celery is configured with: the ``CELERY_`` settings under Celery's own names, and nothing else.

Celery shows its whole configuration to whoever asks a worker (``inspect conf``, ``report``, Flower's worker page), and hides passwords by the names of its own
settings. Given all of Django's settings, it would show every URL in them.
"""

from django.conf import settings as _settings

_PREFIX = "CELERY_"
_AS_IT_IS = "CELERY_DB_REUSE_MAX"  # Celery's fixup for Django reads it under this name


def _celerys_own(name: str) -> str:
    return name if name == _AS_IT_IS else name.removeprefix(_PREFIX).lower()


globals().update({_celerys_own(name): getattr(_settings, name) for name in dir(_settings) if name.startswith(_PREFIX)})
