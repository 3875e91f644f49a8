"""Campaigns: anything is moved to any part of the fleet, in waves, by evidence. The engine names no kind of thing."""
