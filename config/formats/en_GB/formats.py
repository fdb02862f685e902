"""Django's own format of this language is 24 Nov 2026, 3:47 p.m., without a zone."""

DATE_FORMAT = SHORT_DATE_FORMAT = "Y-m-d"
TIME_FORMAT = "H:i:s"
DATETIME_FORMAT = SHORT_DATETIME_FORMAT = "Y-m-d H:i:s T"
DATE_INPUT_FORMATS = ["%Y-%m-%d"]
