"""What proves the promise: the model (model checking), the simulation (deterministic simulation testing), the crash matrix (fault injection) and the storms (chaos
scenarios), with their commands. Installed everywhere but in production.

None of it needs the tests' own packages, so that ``manage.py prove``, ``simulate`` and ``storm`` work for whoever builds on this shop.
"""
