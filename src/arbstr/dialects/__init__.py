"""Formats: bytes in, values out, and back. Nothing here does I/O, reads a clock or logs.

``sse`` cuts a byte stream into server-sent events; ``openai`` is the OpenAI dialect in one place (requests, streams,
whole answers); ``envelopes`` reads providers' error bodies and writes ours.
"""
