"""The protocol as pure functions, and the search through its states."""
