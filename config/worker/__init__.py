"""What hangs on Celery's worker: pool processes that stay clean, a watchdog that ends a worker which no longer consumes, and the findings about workers."""
