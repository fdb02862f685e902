"""One package for each subscriber. No other code names it: delete the folder, and its effect is gone."""
