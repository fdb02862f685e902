"""Configuration and wiring: settings, URLs, the Celery app, checks, health pages, ``doctor``, the processes (``worker``, ``stack``) and commands (``management``).

It may import every package of the shop; none of them imports it. Within it, ``settings`` is at the bottom and ``management`` on top.
Never change: ``settings`` alone reads the environment, and the Celery app is imported here, so that ``celery -A config`` and Django find it.
"""

from config.celery import app as celery_app

__all__ = ["celery_app"]
