"""``python -m config.celery_worker``: Celery's worker, with the options of ``celery -A config worker``.

Celery's own program also loads its interactive shell and Flower, whatever it is asked for: a third of a worker's start, and 26 MB of each.
"""

from celery.bin.base import CLIContext
from celery.bin.worker import worker

from config.celery import app

if __name__ == "__main__":
    context = CLIContext(app=app, no_color=False, workdir=None)
    worker.main(prog_name="python -m config.celery_worker", auto_envvar_prefix="CELERY_WORKER", obj=context)
