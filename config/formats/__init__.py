"""How dates are written in the admin: as in logs, commands and the API, in UTC (FORMAT_MODULE_PATH)."""
