"""What kind of file a piece of media is, where nobody said so: told by its first bytes, or by the end of its URL."""

from __future__ import annotations

from urllib.parse import urlsplit

from arbstr.domain.conversation import Media

_BY_BASE64 = (
    ("iVBORw0KGgo", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
    ("JVBERi", "application/pdf"),
    ("SUQz", "audio/mpeg"),
    ("ZkxhQ", "audio/flac"),
    ("T2dnUw", "audio/ogg"),
)
"""How files of these types begin, in base64. A WAV file begins like a WebP image, and is told by its kind."""

_BY_ENDING = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "heic": "image/heic",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
}


def media_type_of(media: Media) -> str | None:
    """The media type that was said, in lower case and without parameters, or else the one that shows; None if none."""
    if media.media_type:
        return media.media_type.partition(";")[0].strip().lower()
    if media.data:
        start = media.data[:16]
        if media.kind == "audio" and start.startswith("UklGR"):
            return "audio/wav"
        found = next((kind for beginning, kind in _BY_BASE64 if start.startswith(beginning)), None)
        if found:
            return found
    return _BY_ENDING.get(_ending(media.name or "")) or _BY_ENDING.get(_ending(_path(media.url or "")))


def _path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _ending(name: str) -> str:
    return name.rpartition(".")[2].lower()
