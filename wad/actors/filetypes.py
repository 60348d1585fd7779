"""What a file's content says it is, and whether that is what it was declared to be.

Synchronous: it looks at the first bytes. Whoever sent the file declared its type, and a page that calls itself a picture
must not be taken for one by whatever opens it next.
"""

from __future__ import annotations

from typing import Final

import filetype  # type: ignore[import-untyped]

#: Types that one look cannot tell apart, or that are boxes for each other: a name of each -> the kind of box.
_BOXES: Final = {
    **dict.fromkeys(("audio/mp4", "audio/m4a", "audio/x-m4a", "video/mp4", "video/quicktime", "video/x-m4v"), "mp4"),
    **dict.fromkeys(("audio/3gpp", "video/3gpp", "video/3gpp2"), "mp4"),
    **dict.fromkeys(("audio/ogg", "video/ogg", "application/ogg", "audio/opus"), "ogg"),
    **dict.fromkeys(("audio/webm", "video/webm", "video/x-matroska"), "matroska"),
    **dict.fromkeys(("audio/mpeg", "audio/mp3", "audio/aac", "audio/x-aac"), "mpeg audio"),
    **dict.fromkeys(("audio/wav", "audio/x-wav", "audio/wave"), "wav"),
    **dict.fromkeys(("image/jpeg", "image/jpg", "image/pjpeg"), "jpeg"),
    **dict.fromkeys(("image/heic", "image/heif"), "heif"),
    **dict.fromkeys(("application/zip", "application/x-zip-compressed", "application/java-archive"), "zip"),
    **dict.fromkeys(("application/gzip", "application/x-gzip"), "gzip"),
    **dict.fromkeys(("text/rtf", "application/rtf"), "rtf"),
    **dict.fromkeys(("application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint"), "ole"),
}  # fmt: skip
#: Families of documents that are archives with other names.
_ZIPPED: Final = (
    "application/vnd.openxmlformats-officedocument.",
    "application/vnd.oasis.opendocument.",
    "application/vnd.ms-",  # with macros
    "application/vnd.android.package-archive",
    "application/epub+zip",
)
#: Types whose beginning always tells: a file of theirs that does not begin so is none.
_CERTAIN: Final = frozenset(
    {
        "image/jpeg",
        "image/jpg",
        "image/png",
        "image/gif",
        "image/webp",
        "application/pdf",
        "audio/ogg",
        "audio/amr",
    }
)
UNKNOWN: Final = "application/octet-stream"


def bare(mime_type: str) -> str:
    """*mime_type* without its parameters."""
    return mime_type.partition(";")[0].strip().lower()


def found_type(head: bytes) -> str | None:
    """The type of a file that begins with *head*; None where nothing there tells."""
    return filetype.guess_mime(head) if head else None


def contradicts(found: str | None, declared: str) -> bool:
    """Whether a file whose content is *found* cannot be what it was *declared* to be."""
    declared = bare(declared)
    if found is None:
        return declared in _CERTAIN
    if declared in (found, "", UNKNOWN):
        return False
    box = _box(found)
    return box is None or box != _box(declared)


def _box(mime_type: str) -> str | None:
    return _BOXES.get(mime_type) or ("zip" if mime_type.startswith(_ZIPPED) else None)
