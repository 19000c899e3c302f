"""The content parts of an OpenAI chat caller: text, and media as data URLs, URLs or base64."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any
from urllib.parse import unquote_to_bytes

from arbstr.dialects.body import wrong
from arbstr.dialects.media import media_type_of
from arbstr.domain.conversation import CacheHint, Media, Text
from arbstr.domain.errors import InvalidRequest

Object = dict[str, Any]

_DATA = re.compile(r"data:([^,;]*)((?:;[^,;]*)*),", re.IGNORECASE)
_WEB = ("http://", "https://", "gs://", "s3://")
_AUDIO = {"mp3": "audio/mpeg", "wav": "audio/wav"}


def text_of(part: Object, at: str) -> Text | None:
    """A part's text; None for an empty one."""
    text = part.get("text")
    if type(text) is not str:
        raise wrong(f"{at}.text", text, "a string")
    return Text(text, cache_of(part)) if text else None


def cache_of(part: Object) -> CacheHint | None:
    """The wish to cache the prompt up to here, as callers of Claude say it in this dialect, or as OpenAI names it."""
    hint = part.get("cache_control")
    if type(hint) is dict:
        ttl = hint.get("ttl")
        return CacheHint(ttl if ttl in ("5m", "1h") else None)
    hint = part.get("prompt_cache_breakpoint")
    if type(hint) is dict:
        return CacheHint("1h" if hint.get("ttl") else None)  # OpenAI's last at least half an hour
    return None


def media(part: Object, at: str) -> Media:
    """An image, a file or audio. Raises InvalidRequest for what is known to nobody but the caller's own provider."""
    match part.get("type"):
        case "image_url" | "input_image":
            return _image(part, at)
        case "input_audio":
            return _audio(part, at)
        case "file" | "input_file":
            return _file(part, at)
        case None | str() as kind:
            known = "text, image_url, input_audio or file"
            if kind is None or len(kind) > 32 or not kind.isprintable():
                raise wrong(f"{at}.type", kind, known)
            raise InvalidRequest(f"{at} has the type {kind!r}, which is not one of {known}.", param=f"{at}.type")
        case kind:
            raise wrong(f"{at}.type", kind, "a string")


def _image(part: Object, at: str) -> Media:
    image = part.get("image_url")
    image = image if type(image) is dict else {"url": image, "detail": part.get("detail")}
    url, detail = image.get("url"), image.get("detail")
    if type(url) is not str or not url:
        raise wrong(f"{at}.image_url.url", url, "a URL")
    if detail is not None and type(detail) is not str:
        raise wrong(f"{at}.image_url.detail", detail, "a string")
    said = _text(image.get("format")) or _text(image.get("media_type"))
    return _located("image", url, f"{at}.image_url.url", said=said, detail=detail, cache=cache_of(part))


def _audio(part: Object, at: str) -> Media:
    audio = part.get("input_audio")
    if type(audio) is not dict:
        raise wrong(f"{at}.input_audio", audio, "an object with data and format")
    data, form = audio.get("data"), audio.get("format")
    if type(data) is not str or not data:
        raise wrong(f"{at}.input_audio.data", data, "base64")
    if type(form) is not str or not form:
        raise wrong(f"{at}.input_audio.format", form, "wav or mp3")
    return Media("audio", data=data, media_type=_AUDIO.get(form, f"audio/{form}"), cache=cache_of(part))


def _file(part: Object, at: str) -> Media:
    file = part.get("file")
    file = part if file is None else file
    if type(file) is not dict:
        raise wrong(f"{at}.file", file, "an object with file_data")
    data, id, name = file.get("file_data"), file.get("file_id"), _text(file.get("filename"))
    said = _text(file.get("format"))
    if data is None and type(id) is str:
        if id.startswith(_WEB):
            return _located("document", id, f"{at}.file.file_id", said=said, name=name, cache=cache_of(part))
        raise InvalidRequest(
            f"{at} names an uploaded file, which only the provider that keeps it can read; send its data.",
            param=f"{at}.file.file_id",
        )
    if type(data) is not str or not data:
        raise wrong(f"{at}.file.file_data", data, "a data URL")
    if data[:5].lower() == "data:" or data.startswith(_WEB):
        return _located("document", data, f"{at}.file.file_data", said=said, name=name, cache=cache_of(part))
    return _typed(Media("document", data=data, media_type=said, name=name, cache=cache_of(part)))


def _located(
    kind: str,
    url: str,
    at: str,
    *,
    said: str | None,
    name: str | None = None,
    detail: str | None = None,
    cache: CacheHint | None,
) -> Media:
    """What is at a URL, or in a data URL. Its type decides what it is: PDFs are sent as images, and images as files."""
    if url[:5].lower() != "data:":
        return Media(_kind(said, kind), url=url, media_type=said, name=name, detail=detail, cache=cache)
    head = _DATA.match(url[:512])
    if head is None or head.end() == len(url):
        raise InvalidRequest(f"{at} must be a URL, or a data URL such as data:image/png;base64,…", param=at)
    body = url[head.end() :]
    if ";base64" not in head[2].lower():
        try:
            body = base64.b64encode(unquote_to_bytes(body)).decode()
        except (ValueError, binascii.Error):
            raise InvalidRequest(f"{at} has data that cannot be read.", param=at) from None
    named = head[1].lower().replace("application/octet-stream", "")
    found = Media(kind, data=body, media_type=named or said, name=name, detail=detail, cache=cache)
    return _typed(found)


def _typed(found: Media) -> Media:
    media_type = media_type_of(found)
    kind = _kind(media_type, found.kind)
    return Media(
        kind,
        data=found.data,
        media_type=media_type,
        name=found.name,
        detail=found.detail if kind == "image" else None,
        cache=found.cache,
    )


def _kind(media_type: str | None, otherwise: str) -> str:
    match (media_type or "").partition("/")[0]:
        case "image" | "audio" as kind:
            return kind
        case "application" | "text":
            return "document"
    return otherwise


def _text(value: object) -> str | None:
    return value if type(value) is str and value else None
