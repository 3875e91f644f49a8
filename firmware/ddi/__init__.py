"""hawkBit's Direct Device Integration (DDI, v1) as a second way in, for devices that speak it already. Off by default.

The same releases, campaigns and guards: an action is an installation, feedback is a result of its command.
"""
