"""The gateway in front of a provider that was not written here: `make compat`."""
