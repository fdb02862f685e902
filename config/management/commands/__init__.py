"""One file for each command. What they may import, and what must stay: ``config.management``."""
