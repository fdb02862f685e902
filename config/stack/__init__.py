"""The whole shop on one machine: a supervisor, embedded engines, child processes, ports, and the orders of the demo."""
