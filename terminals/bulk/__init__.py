"""Bulk work: one verb done to every terminal of a target, in the background, with what came of each."""
