"""The commands of the proofs: ``prove``, ``simulate`` and ``storm``.

They may import all of the shop and of ``tests.proofs``, and none of the other tests, because they work for whoever builds on this shop.
Never change without docs/commands.md: names, options and exit codes.
"""
