"""The edge: from bytes of a stranger to a request that Django can serve, and one line of log for each answer.

``server`` are gunicorn's settings. Its worker (``worker``) receives each request whole (``reception``) before a thread is spent on it, and needs
none to send what its client is slow to read (``outgoing``). ``handler`` is the WSGI application: it makes an ordinary body of one that is chunked or compressed
(``bodies``), and answers whatever Django itself cannot.
"""
