"""How pages show instants in English: one format everywhere, with the offset from UTC: CST is three zones' name."""

DATE_FORMAT = SHORT_DATE_FORMAT = "Y-m-d"
TIME_FORMAT = "H:i:s O"
DATETIME_FORMAT = SHORT_DATETIME_FORMAT = "Y-m-d H:i:s O"
