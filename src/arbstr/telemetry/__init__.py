"""What an operator sees: log lines on stdout and Prometheus metrics."""
