"""Structs to rows and back: what is a column, what is JSON beside it, and what is sealed.

A column is what somebody queries by or an operator wants to see; the rest of a record is JSON. Texts that
people wrote, credentials and answers are sealed under the session's data key, bound to their row.
Times become milliseconds: a record read back has its times to the millisecond.

A row whose seal does not open (a garbled disk; a wrong master is found at open) must not take its session
down with it: it is logged, and stands in with a content that no provider takes, so it ends as a dead letter.
"""

from wad.store.records.bulks import bulk_of, bulk_row
from wad.store.records.events import event_of, event_row
from wad.store.records.inbox import MESSAGE_KIND, inbox_changes, inbox_of, inbox_row
from wad.store.records.keys import key_id, key_of, key_row
from wad.store.records.media import media_changes, media_of, media_pending, media_row
from wad.store.records.messages import message_changes, message_of, message_row
from wad.store.records.parked import parked_of, parked_row
from wad.store.records.pending import PENDING_COLUMNS, pending_of
from wad.store.records.sessions import session_changes, session_of, session_row
from wad.store.records.values import ms

__all__ = [
    "MESSAGE_KIND",
    "PENDING_COLUMNS",
    "bulk_of",
    "bulk_row",
    "event_of",
    "event_row",
    "inbox_changes",
    "inbox_of",
    "inbox_row",
    "key_id",
    "key_of",
    "key_row",
    "media_changes",
    "media_of",
    "media_pending",
    "media_row",
    "message_changes",
    "message_of",
    "message_row",
    "ms",
    "parked_of",
    "parked_row",
    "pending_of",
    "session_changes",
    "session_of",
    "session_row",
]
