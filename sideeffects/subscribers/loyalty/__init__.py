"""The subscriber loyalty: points for each order. What it may import, and what must stay: ``sideeffects.subscribers``."""
