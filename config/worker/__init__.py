"""What hangs on a Celery worker: pool processes that stay clean, and a watchdog that ends a worker which no longer consumes."""
