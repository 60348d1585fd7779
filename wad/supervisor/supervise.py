"""Run something until it ends by itself; if it crashes, run it again, a little later each time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from wad.supervisor.policy import RestartPolicy


class RestartIntensityExceeded(Exception):
    """It crashes too often for one more restart to be worth trying. The last crash is the cause."""


#: Told of every crash: the error, and the seconds until the restart (None: there will be none).
CrashHook = Callable[[BaseException, float | None], None]


async def supervise(run: Callable[[], Awaitable[None]], policy: RestartPolicy, on_crash: CrashHook) -> None:
    """Run *run* until it returns. Raises RestartIntensityExceeded.

    A crash while we are being cancelled does not escape: it is told to *on_crash*, and the cancellation goes on.
    """
    crashes: list[float] = []  # the times of the latest, oldest first
    while True:
        crash: BaseException | None = None
        delay: float | None = None
        try:
            await run()
        except* Exception as group:  # noqa: BLE001  whatever it is, it is a crash; a Cancelled beside it goes on
            crash = _innermost(group)
            now = trio.current_time()
            crashes.append(now)
            crashes = [at for at in crashes if at > now - policy.period]
            if len(crashes) <= policy.intensity:
                delay = policy.delay_before(len(crashes))
            on_crash(crash, delay)
        if crash is None:
            return
        if delay is None:
            raise RestartIntensityExceeded from crash
        await trio.sleep(delay)


def _innermost(group: BaseExceptionGroup[Exception]) -> BaseException:
    """The crash itself where nurseries wrapped only one, else the group."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
