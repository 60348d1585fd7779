"""What customers send besides text, in a simulated world: pictures at the provider, and a disk that outlives the process."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import trio

from tests.simulation.mortal import content_of
from wad.actors.inbox import received_media_id
from wad.models import InboundMessage, MediaState
from wad.secrets import Vault
from wad.store.files import DIRECTORY, FileLost, Files
from wad.store.store import Store

#: What a picture may end as, besides stored: a provider that garbles it three times.
_GIVEN_UP = "media_corrupt"


def picture(name: str) -> dict[str, Any]:
    """The content of a message whose picture is called *name*."""
    file = {"mediaId": name, "mimeType": "image/png", "caption": name}
    return {"type": "image", "image": {**file, "sha256": hashlib.sha256(content_of(name)).hexdigest()}}


def disk(directory: Path, vault: Vault) -> Files:
    """The disk of all lives. In no thread, for time is a mock; a life that is over is cancelled before its turn."""

    async def at_once(work: Callable[[], Any]) -> Any:
        await trio.lowlevel.checkpoint()
        return work()

    return Files(directory / DIRECTORY, vault, max_disk=2**30, in_thread=at_once)


async def broken(store: Store, files: Files, session_id: str, event: InboundMessage) -> AsyncIterator[str]:
    """What is wrong with the picture of *event*, whose message was acknowledged."""
    name = event.content["image"]["mediaId"]
    media = await store.media(received_media_id(session_id, name))
    if media is None:
        yield f"the picture {name} has no row"
    elif media.state is MediaState.FAILED and media.error is not None and media.error.code == _GIVEN_UP:
        return
    elif media.state is not MediaState.STORED or media.size is None:
        yield f"the picture {name} is {media.state}: {media.error}"
    else:
        try:
            async with files.reading(media.media_id, session_id, media.size) as chunks:
                if b"".join([chunk async for chunk in chunks]) != content_of(name):
                    yield f"the picture {name} is another one"
        except FileLost as error:
            yield f"the picture {name} is lost: {error}"
