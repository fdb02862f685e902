"""A black-box view of the shop: a stack in processes of its own, its API, its providers' ledger, its database, read with plain SQL, and its processes, which may
be frozen and killed. Nothing here runs the shop's code, so nothing here shares its mistakes.
"""
