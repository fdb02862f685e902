"""The model: the protocol as pure functions, and the search through its states (model checking)."""
