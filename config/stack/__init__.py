"""The whole shop on one machine.

``supervisor`` starts and watches the processes that ``commands`` names, at the ``addresses`` of this stack. ``database`` and ``embedded`` are its engines,
``processes``, ``ports``, ``locks``, ``stop_signals`` and ``run_directory`` what it is built from. ``stopping`` ends a stack from another terminal, ``terminal`` is
what commands that run one have in common, ``demo_stories`` are the orders of the demo.
"""
