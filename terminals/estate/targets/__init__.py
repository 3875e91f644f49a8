"""Targets: a filter language over terminals, for lists, groups and everything that is done to many at once."""
