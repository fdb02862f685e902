"""Two fuzzers against a real gunicorn process with a PostgreSQL of its own. Their short forms are tests (``tests/edge/test_fuzz_*.py``).

``python -m tests.fuzz wire`` sends bytes of any kind on raw sockets (``inputs``, ``rounds``, ``connection``, ``verdict``). What was answered wrongly once is
``kept``. ``python -m tests.fuzz reference`` sends what the API's reference allows, and what it does not (``reference``).
"""
