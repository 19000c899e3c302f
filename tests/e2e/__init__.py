"""The whole gateway over real sockets: real clients in front, real HTTP servers behind."""
