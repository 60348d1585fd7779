"""A wall clock for the daemon that is as far off as the file `$WAD_TEST_CLOCK` says, in seconds.

Python runs this at its start where the directory is on PYTHONPATH. (libfaketime would be the field's own choice; its
0.9.10 has `sem_clockwait` of a monotonic clock fail, which every Python lock with a timeout is.)
"""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from wad.models import ids

_FILE = Path(os.environ["WAD_TEST_CLOCK"])


def _off() -> float:
    return float(_FILE.read_text())


class _Datetime:
    @staticmethod
    def now(tz: tzinfo) -> datetime:
        return datetime.now(tz) + timedelta(seconds=_off())


class _Time:
    @staticmethod
    def time_ns() -> int:
        return time.time_ns() + int(_off() * 1_000_000_000)


vars(ids).update(datetime=_Datetime, time=_Time)
