"""How pages show instants in Chinese: one format everywhere, with the offset from UTC: CST is three zones' name."""

DATE_FORMAT = SHORT_DATE_FORMAT = "Y年n月j日"
TIME_FORMAT = "H:i:s O"
DATETIME_FORMAT = SHORT_DATETIME_FORMAT = "Y年n月j日 H:i:s O"
