"""What Celery is configured with: the ``CELERY_`` settings under Celery's own names, the settings of a worker (config/stack/worker_settings.py), and nothing else.

Celery shows its whole configuration to whoever asks a worker (``inspect conf``, ``report``, Flower's worker page), and hides passwords by the names of its own
settings. Given all of Django's settings, it would show every URL in them.
"""

from django.conf import settings as _settings

from config.stack import worker_settings as _worker_settings

_PREFIX = "CELERY_"

globals().update({name.removeprefix(_PREFIX).lower(): getattr(_settings, name) for name in dir(_settings) if name.startswith(_PREFIX)})
globals().update({setting.name: setting.value for setting in _worker_settings.CELERY})
