"""What is measured: a program for each peer (``program`` says what they have in common). All but ours run in an environment of their own, and import nothing of the
shop.
"""
