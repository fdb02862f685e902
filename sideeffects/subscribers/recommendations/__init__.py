"""The subscriber recommendations: products bought together. What it may import, and what must stay: ``sideeffects.subscribers``."""
