"""A fuzzer on raw sockets against one real gunicorn process. ``python -m tests.fuzz --requests 20000``; a small run is part of the tests."""
