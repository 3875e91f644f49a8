"""Terminal management: the bedrock (common), the ground (estate), the floor (link) and the features on it."""
