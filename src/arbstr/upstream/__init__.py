"""HTTP out: the client, its connections, and the providers that are reached through it."""
