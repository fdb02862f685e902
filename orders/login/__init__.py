"""How operators come in: the password, throttled and hashed one at a time, and after it a second factor where the shop wants one."""
