"""What the relay could not work on. Each fact and each delivery is left aside for a minute, in the memory of this process."""

from sideeffects.containment import Containment

facts, deliveries = Containment("fact"), Containment("delivery")
