"""What customers send besides text: kept by wad without anybody asking, whoever carried it and whatever goes wrong."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.acceptance.daemon import Daemon, crashes
from tests.acceptance.meta.place import BusinessShop, Dialog360Shop, meta_shop
from tests.acceptance.shop import API, Shop, a_phone, shop, until, walk
from tests.acceptance.town import Town, running, town
from tests.acceptance.twilio.place import twilio_shop

MOST = 100 * 1024
PICTURE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(MOST // 2)
DIGEST = hashlib.sha256(PICTURE).hexdigest()
CONFIG = {"media": {"max_size": MOST}}


async def sends_a_picture(its: Shop, content: bytes = PICTURE, mime_type: str = "image/png") -> None:
    """A customer does, to this number."""
    image = {"data": base64.b64encode(content).decode(), "mime_type": mime_type, "caption": "mira"}
    spec: Any = {"from": {"phone": a_phone()}, "type": "image", "image": image}
    await its.here.control("POST", "/inbound", phoneNumberId=its.number, **spec)


async def arrived(its: Shop) -> dict[str, Any]:
    """The newest message that came in, with what wad has of its file."""
    query = {"sessionId": its.session_id, "direction": "inbound", "limit": "1"}
    found = (await its.api.get(f"{API}/messages", params=query)).json()["items"]
    return await its.message(found[0]["messageId"]) if found else {}


async def until_file(its: Shop, *states: str) -> dict[str, Any]:
    """That message, once its file is in one of *states*."""
    return await until(
        lambda: arrived(its),
        lambda message: message.get("media", {}).get("state") in states,
        what=f"a file of {its.session_id} {states}",
    )


async def refuse_files(its: Shop) -> None:
    """From now on the network has no file for this number."""
    for operation in ("media.url", "media.download"):
        match = {"operation": operation, "phoneNumberId": its.number}
        await its.here.fault("http", status=503, times=None, match=match, name=f"{its.number} {operation}")


async def is_kept(its: Shop) -> None:
    """A picture is stored by itself, and served when its provider gives it no more."""
    await sends_a_picture(its)
    message = await until_file(its, "stored", "failed")
    media = message["media"]
    assert (media["state"], media["size"], media["sha256"]) == ("stored", len(PICTURE), DIGEST), media
    assert (media["mimeType"], media["foundType"]) == ("image/png", "image/png")
    await refuse_files(its)
    answer = await its.api.get(f"{API}/media/{media['mediaId']}")
    assert (answer.status_code, answer.content) == (200, PICTURE)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["etag"] == f'"{DIGEST}"'


async def is_another(its: Shop) -> None:
    """What arrives is not what was promised: the file is given up, and the message is done all the same."""
    match = {"operation": "media.download", "phoneNumberId": its.number}
    await its.here.fault("garbage", times=None, match=match, name=f"{its.number} garbage")
    await sends_a_picture(its)
    message = await until_file(its, "failed")
    assert (message["status"], message["media"]["error"]["code"]) == ("done", "media_corrupt")


async def is_too_large(its: Shop) -> None:
    """Over `media.max_size`: not kept, and to be had from the provider."""
    content = PICTURE + bytes(MOST)
    await sends_a_picture(its, content)
    message = await until_file(its, "failed")
    assert message["media"]["error"]["code"] == "media_too_large"
    answer = await its.api.get(f"{API}/media/{message['media']['mediaId']}")
    assert (answer.status_code, answer.content) == (200, content)


async def is_a_page(its: Shop) -> None:
    """What calls itself a picture and is none comes as bytes."""
    await sends_a_picture(its, b"<!DOCTYPE html><script>alert(1)</script>")
    media = (await until_file(its, "stored"))["media"]
    answer = await its.api.get(f"{API}/media/{media['mediaId']}")
    assert (media["mimeType"], answer.headers["content-type"]) == ("image/png", "application/octet-stream")


async def is_garbled(its: Shop) -> None:
    """A disk that lies: whoever asks gets no more than what opens, and cannot take it for the file."""
    await sends_a_picture(its, PICTURE + bytes(20_000))
    media = (await until_file(its, "stored"))["media"]
    path = Path(its.daemon.config["store"]["data_dir"]) / "media" / media["mediaId"][4:6] / media["mediaId"]
    sealed = await trio.Path(path).read_bytes()
    await trio.Path(path).write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(httpx.RemoteProtocolError):
        await its.api.get(f"{API}/media/{media['mediaId']}")
    assert (await its.api.get("/healthz")).status_code == 200


async def is_late(its: Shop) -> None:
    """The provider fails twice, and is asked again."""
    match = {"operation": "media.download", "phoneNumberId": its.number}
    await its.here.fault("cut", times=1, match=match, name=f"{its.number} cut")
    await its.here.fault("http", status=500, times=1, match=match, name=f"{its.number} 500")
    await sends_a_picture(its)
    media = (await until_file(its, "stored", "failed"))["media"]
    assert media["state"] == "stored", media


@asynccontextmanager
async def opened(kind: str, here: Town, daemon: Daemon, name: str) -> AsyncIterator[Shop]:
    match kind:
        case "dialog360":
            opening: Any = meta_shop(Dialog360Shop, here, daemon, name)
        case "meta_business":
            opening = meta_shop(BusinessShop, here, daemon, name)
        case "twilio":
            opening = twilio_shop(here, daemon, name)
        case _:
            opening = shop(here, daemon, name)
    async with opening as its:
        yield its


@dataclass(frozen=True)
class Row:
    label: str
    check: Callable[[Shop], Awaitable[None]]
    kind: str = "cloud_api"


ROWS = [
    Row("kept", is_kept),
    Row("kept, of 360dialog", is_kept, "dialog360"),
    Row("kept, of a whole account", is_kept, "meta_business"),
    Row("kept, of Twilio", is_kept, "twilio"),
    Row("another file", is_another),
    Row("too large", is_too_large),
    Row("a page as a picture", is_a_page),
    Row("late", is_late),
    Row("garbled on the disk", is_garbled),
]


async def test_files_are_kept_and_told_of(tmp_path: Path) -> None:
    """Over every provider, whatever is wrong with the file; and a kill in the middle of a fetch costs one try."""
    async with town(tmp_path) as here, running(here, tmp_path, **CONFIG) as daemon:

        async def check(row: Row) -> None:
            name = f"media-{ROWS.index(row)}"
            async with opened(row.kind, here, daemon, name) as its:
                await row.check(its)

        await walk(ROWS, check)
        metrics = await daemon.metrics()
        assert metrics['wad_media_fetched_total{provider="cloud_api",result="stored"}'] == 4
        assert metrics['wad_media_fetched_total{provider="cloud_api",result="failed"}'] == 2
        for provider in ("dialog360", "meta_business", "twilio"):
            assert metrics[f'wad_media_fetched_total{{provider="{provider}",result="stored"}}'] == 1
        assert metrics["wad_media_bytes"] > 5 * len(PICTURE)
        assert metrics["wad_media_waiting"] == 0
        assert crashes(metrics) == 0
        await _check_kill(here, daemon, tmp_path / "var" / "media")


async def _check_kill(here: Town, daemon: Daemon, files: Path) -> None:
    async with shop(here, daemon, "killed") as its:
        match = {"operation": "media.download", "phoneNumberId": its.number}
        await here.fault("drip", seconds=60, match=match)
        await sends_a_picture(its)
        await until(partial(_named, files, "*.part"), bool, what="a file half written")
        assert (await until_file(its, "waiting"))["status"] == "done"
        daemon.kill()
        await daemon.start()
    async with daemon.client() as api:
        its = Shop(here, daemon, api, "killed")
        media = (await until_file(its, "stored", "failed"))["media"]
        assert (media["state"], media["sha256"]) == ("stored", DIGEST)
        answer = await api.get(f"{API}/media/{media['mediaId']}")
        assert (answer.status_code, answer.content) == (200, PICTURE)
        assert await _named(files, "*.part") == []


async def _named(directory: Path, pattern: str) -> list[Path]:
    return await trio.to_thread.run_sync(lambda: list(directory.rglob(pattern)))
