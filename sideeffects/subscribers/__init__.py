"""One room per subscriber; nobody else names it. Delete a folder and its effect is gone."""
