"""Commands that run the shop or need all of it: ``up``, ``demo``, ``sweep``, ``relay``, ``reconcile`` and others. ``loops`` is what the two loops share.

A command may import every package of the shop, and none of them imports a command. It reads its arguments, calls them, and prints.
Never change without docs/commands.md and the runbooks: names, options and exit codes. Supervisors and people type them.
"""
