"""Configuration and wiring: settings, URLs, the Celery app, checks, health pages, ``doctor``, the processes (``worker``, ``stack``) and commands (``management``).

It may import every package of the shop; none of them imports it. Within it, ``settings`` is at the bottom and ``management`` on top.
Never change: ``settings`` alone reads the environment. This file imports nothing of ours: the supervisor and the mail catcher need neither Django nor Celery.
"""

import gc

# By default the garbage collector looks through everything after each 700 new objects. A process imports 300,000 and drops none of them: 0.15 s for nothing.
gc.set_threshold(50_000)
