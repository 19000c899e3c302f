"""What happens to a request: the only place where policy meets I/O. Begin with ``handle``."""
