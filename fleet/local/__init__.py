"""The one-machine installation: what `make run` starts, its secrets, and its demonstration fleet."""
