"""Virtual terminals. They speak only the protocol: HTTP to enrol and download, MQTT for the rest; no model is imported."""
