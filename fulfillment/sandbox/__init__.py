"""The provider sandbox: a payment provider and a carrier in one HTTP process of their own. A stranger: it knows nothing of the shop."""
