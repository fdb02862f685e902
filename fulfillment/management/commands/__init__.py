"""One file for each command. What they may import, and what must stay: ``fulfillment.management``."""
