"""The subscriber email: a text receipt. What it may import, and what must stay: ``sideeffects.subscribers``."""
