"""Configuration: from a file and the environment to the frozen values that the gateway runs on."""

from __future__ import annotations

from arbstr.config.compile import Compiled, LogSettings, ProviderSpec

__all__ = ["Compiled", "LogSettings", "ProviderSpec"]
