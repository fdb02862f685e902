"""The release of this code: a number that only grows. A saga pins the release that has opened it, and every process reports its own.

Raise it with every deploy that adds, renames, re-versions or removes a step, or that changes to which events a subscriber reacts.
It has nothing to do with stock that is released (``stock.release``).
A process that meets a higher number than its own leaves that work to a newer process.
"""

RELEASE = 2
