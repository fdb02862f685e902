"""One package for each subscriber. No other code names it. If you delete the folder, what it is still owed is held and a person is notified; its tables stay.

A subscriber may import ``sideeffects.models`` and the modules of ``orders`` that hold data; no other subscriber.
Never change: the name of its function, which its deliveries store, and the label of its app, which names its tables.
"""
