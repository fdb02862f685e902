"""Commands with which operators inspect and decide: ``why``, ``timeline``, ``decide``, ``retry_orders``, ``circuit`` and others. ``operating`` is what they share.

They may import the rest of ``fulfillment``, and the modules of ``orders`` that hold data; not ``sideeffects``, ``config`` or Celery.
Never change without docs/commands.md and the runbooks: names, options and exit codes. The admin and the runbooks show whole lines to paste.
"""
