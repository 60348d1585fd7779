"""What a content says it is, against what its sender said."""

from __future__ import annotations

import io
import zipfile

import pytest

from wad.actors.filetypes import contradicts, found_type


def zipped(*names: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name in names:
            archive.writestr(name, "<x/>")
    return held.getvalue()


JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(100)
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(100)
WEBP = b"RIFF\x24\0\0\0WEBPVP8 " + bytes(100)
PDF = b"%PDF-1.7\n" + bytes(100)
VOICE = b"OggS\0\x02" + bytes(22) + b"OpusHead\x01" + bytes(100)
AMR = b"#!AMR\n" + bytes(100)
MP3 = b"ID3\x03\0\0\0\0\0\x21" + bytes(100)
VIDEO = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41" + bytes(100)
M4A = b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom" + bytes(100)
DOCX = zipped("[Content_Types].xml", "_rels/.rels", "word/document.xml")
ODD_DOCX = zipped("docProps/app.xml", "word/document.xml")
PAGE = b"<!DOCTYPE html><script>alert(1)</script>"
PROGRAM = b"MZ\x90\0\x03" + bytes(200)
WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

FITS = [
    ("a photograph", JPEG, "image/jpeg"),
    ("by its other name", JPEG, "image/jpg"),
    ("a picture", PNG, "image/png"),
    ("a sticker", WEBP, "image/webp"),
    ("a document", PDF, "application/pdf"),
    ("a voice note, with parameters", VOICE, "audio/ogg; codecs=opus"),
    ("an old phone's voice", AMR, "audio/amr"),
    ("a song", MP3, "audio/mpeg"),
    ("a video", VIDEO, "video/mp4"),
    ("sound in a video's box", VIDEO, "audio/mp4"),
    ("sound", M4A, "audio/mp4"),
    ("a video of an old phone", b"\0\0\0\x14ftyp3gp5\0\0\0\x003gp5" + bytes(50), "video/3gpp"),
    ("Word", DOCX, WORD),
    ("Word that another program wrote", ODD_DOCX, WORD),
    ("old Word", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "application/msword"),
    ("text", b"Hola, buenas tardes", "text/plain"),
    ("a table", b"a,b\n1,2\n", "text/csv"),
    ("a page that says so", PAGE, "text/html"),
    ("what is declared to be anything", PNG, "application/octet-stream"),
    ("an unheard-of type", b"something", "application/x-something"),
    ("an empty text", b"", "text/plain"),
]


@pytest.mark.parametrize(("content", "declared"), [row[1:] for row in FITS], ids=[row[0] for row in FITS])
def test_what_may_be_what_it_was_declared_to_be_is_believed(content: bytes, declared: str):
    """Names of one thing, and boxes that hold it, are no contradiction; nor is what nobody can tell."""
    assert not contradicts(found_type(content), declared)


LIES = [
    ("a page as a photograph", PAGE, "image/jpeg", None),
    ("a page as a document", PAGE, "application/pdf", None),
    ("a program as a picture", PROGRAM, "image/png", "application/x-msdownload"),
    ("a program as text", PROGRAM, "text/plain", "application/x-msdownload"),
    ("a picture as another", PNG, "image/jpeg", "image/png"),
    ("a document as a video", PDF, "video/mp4", "application/pdf"),
    ("a video as a voice note", VIDEO, "audio/ogg; codecs=opus", "video/mp4"),
    ("an archive as a document", zipped("a.exe"), "application/pdf", "application/zip"),
    ("nothing as a picture", b"", "image/png", None),
]


@pytest.mark.parametrize(
    ("content", "declared", "found"), [row[1:] for row in LIES], ids=[row[0] for row in LIES]
)
def test_what_cannot_be_what_it_was_declared_to_be_is_found_out(
    content: bytes, declared: str, found: str | None
):
    """A page cannot be recognised; but a picture that does not begin like one is none."""
    assert found_type(content) == found
    assert contradicts(found, declared)
