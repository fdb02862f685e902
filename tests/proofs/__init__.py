"""What proves the promise: the model, the simulation, the crash matrix and the storms, with their commands. Installed everywhere but in production.

None of it needs the tests' own packages, so that ``manage.py prove``, ``simulate`` and ``storm`` work for whoever builds on this shop.
"""
