"""What things are: frozen values, enums and errors. Nothing here does I/O, reads a clock or logs."""
