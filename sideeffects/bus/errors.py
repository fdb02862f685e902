"""What can go wrong with the bus."""


class BusTrouble(Exception):
    """The bus did not take what it was sent, or was not able to answer: nothing is lost, and the next round goes on from the same event. The text is a sentence."""
