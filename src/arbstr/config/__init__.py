"""Configuration: from a file and the environment to the frozen values that the gateway runs on."""

from __future__ import annotations

from arbstr.config.compile import Compiled, LogSettings
from arbstr.config.load import find, load
from arbstr.config.problems import ConfigError, Problem
from arbstr.config.providers import ProviderSpec

__all__ = ["Compiled", "ConfigError", "LogSettings", "Problem", "ProviderSpec", "find", "load"]
