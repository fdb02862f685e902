"""The subscriber analytics: daily revenue, and units per product. What it may import, and what must stay: ``sideeffects.subscribers``."""
