"""What every storm is asked when its faults have ended: each module is one check, and adds a breach to the storm for whatever does not hold."""
