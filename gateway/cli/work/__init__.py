"""The work of the commands: what they do with a session of the running system."""
