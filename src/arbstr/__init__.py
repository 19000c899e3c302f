"""arbstr: a gateway for OpenAI-compatible APIs that buys each request from the cheapest healthy provider."""

__version__ = "0.1.0"
