"""The shop itself, as its processes run it. Only its providers and its subscribers are others: those that the work of every peer has."""
