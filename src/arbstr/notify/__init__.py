"""Telling the operator: webhooks, Slack, email and apprise, each once per cause and in its own time."""
