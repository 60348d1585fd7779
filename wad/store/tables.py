"""The tables as data: their columns, which the engines make, and the few indexes that carry the rules.

Every index costs each insert a random write, so each has its reason beside it. Column names are public:
`sessions` shows the documented fields, and an operator reads the rest with `sqlite3` or `mongosh`.
`open` and `dead` are 1 or null, so that partial indexes hold only the rows somebody still has to do with.
"""

from __future__ import annotations

from typing import Final

from wad.store.base import Index, Table

#: Raised when stored rows change their meaning. A newer store is refused, an older one is migrated at open.
SCHEMA: Final = 1

META: Final = Table("meta", {"name": "TEXT", "value": "BLOB"})

SESSIONS: Final = Table(
    "sessions",
    {
        "sessionId": "TEXT",
        "provider": "TEXT",
        "shopId": "TEXT",
        "phoneNumber": "TEXT",
        "desiredState": "TEXT",
        "state": "TEXT",
        "reason": "TEXT",  # JSON
        "isConnected": "BOOLEAN",
        "lastSeen": "INTEGER",
        "qrCode": "TEXT",
        "connectionData": "TEXT",  # JSON
        "credentials": "BLOB",  # sealed JSON
        "settings": "BLOB",  # sealed JSON: it may hold the flow's secret
        "formers": "BLOB",  # sealed JSON: the providers before this one, with their credentials
        "createdAt": "INTEGER",
        "updatedAt": "INTEGER",
        "owner": "TEXT",
        "epoch": "INTEGER",
        "dataKey": "BLOB",  # wrapped
        "rev": "INTEGER",
    },
)

MESSAGES: Final = Table(
    "messages",
    {
        "messageId": "TEXT",
        "sessionId": "TEXT",
        "seq": "INTEGER",
        "shopId": "TEXT",
        "chat": "TEXT",
        "lane": "TEXT",  # its order goes by; null where that is the chat
        "phone": "TEXT",
        "priority": "INTEGER",
        "state": "TEXT",
        "open": "INTEGER",
        "dead": "INTEGER",
        "dueAt": "INTEGER",
        "expiresAt": "INTEGER",
        "backlog": "INTEGER",  # 1 while it waits and is bulk: the outbox reads those in pages; else null
        "bulkId": "TEXT",
        "providerMessageId": "TEXT",
        "idempotencyScope": "TEXT",
        "idempotencyKey": "TEXT",
        "createdAt": "INTEGER",
        "updatedAt": "INTEGER",
        "request": "TEXT",  # JSON of what never changes
        "progress": "TEXT",  # JSON of what does: attempts, error, history
        "body": "BLOB",  # sealed JSON
        "rev": "INTEGER",
    },
    (
        Index(("idempotencyScope", "idempotencyKey"), unique=True, partial="idempotencyKey"),
        Index(("sessionId", "providerMessageId"), unique=True, partial="providerMessageId"),
        Index(("open", "sessionId", "seq"), partial="open"),  # an actor's work, and who has any
        Index(("backlog", "sessionId", "dueAt", "seq"), partial="backlog"),  # the next page of bulk to send
        # How far a bulk is, told from the index alone, and what of it waits.
        Index(("bulkId", "state", "sessionId", "seq", "shopId", "dead"), partial="bulkId"),
        Index(("dead", "seq"), partial="dead"),  # dead letters, newest first
        Index(("sessionId", "seq")),  # a session's list
        Index(("shopId", "seq"), partial="shopId"),  # a shop's list
        Index(
            ("chat", "shopId", "seq"), partial="shopId"
        ),  # which of a shop's numbers wrote to somebody last
        Index(("seq",)),  # everybody's list
        Index(("createdAt",)),  # purge
    ),
)

#: The names that callers gave to bulks, by shop. A bulk itself is its messages.
BULKS: Final = Table(
    "bulks",
    {
        "id": "TEXT",  # shop / name
        "bulkId": "TEXT",
        "shopId": "TEXT",
        "seq": "INTEGER",  # of its first message
        "createdAt": "INTEGER",
    },
    (Index(("shopId", "seq"), partial="shopId"), Index(("bulkId",)), Index(("seq",))),
)

INBOX: Final = Table(
    "inbox",
    {
        "messageId": "TEXT",
        "sessionId": "TEXT",
        "dedupeKey": "TEXT",
        "seq": "INTEGER",
        "shopId": "TEXT",
        "kind": "TEXT",  # message, account or event
        "chat": "TEXT",
        "phone": "TEXT",  # the sender's
        "userId": "TEXT",  # the sender's
        "state": "TEXT",
        "open": "INTEGER",
        "dead": "INTEGER",
        "dueAt": "INTEGER",
        "createdAt": "INTEGER",
        "provider": "TEXT",
        "progress": "TEXT",  # JSON: attempts, error
        "body": "BLOB",  # sealed JSON
        "answer": "BLOB",  # sealed JSON
        "rev": "INTEGER",
    },
    (
        Index(("sessionId", "dedupeKey"), unique=True),
        Index(("phone", "sessionId", "seq"), partial="phone"),  # the last that a person wrote, by either name
        Index(("userId", "sessionId", "seq"), partial="userId"),
        Index(("open", "sessionId", "seq"), partial="open"),
        Index(("dead", "seq"), partial="dead"),
        Index(("sessionId", "seq")),
        Index(("shopId", "seq"), partial="shopId"),
        Index(("seq",)),
        Index(("createdAt",)),
    ),
)

PARKED: Final = Table(
    "parked",
    {
        "id": "TEXT",
        "sessionId": "TEXT",
        "providerMessageId": "TEXT",
        "createdAt": "INTEGER",
        "body": "BLOB",  # sealed JSON
    },
    (Index(("sessionId", "providerMessageId")), Index(("createdAt",))),
)

EVENTS: Final = Table(
    "events",
    {
        "seq": "INTEGER",
        "sessionId": "TEXT",
        "shopId": "TEXT",
        "type": "TEXT",
        "createdAt": "INTEGER",
        "body": "BLOB",  # sealed JSON, under the system key: an event may outlive its session
    },
    (Index(("sessionId",), partial="sessionId"), Index(("createdAt",))),
)

MEDIA: Final = Table(
    "media",
    {
        "mediaId": "TEXT",
        "sessionId": "TEXT",
        "open": "INTEGER",  # it is still to be fetched
        "expiresAt": "INTEGER",
        "request": "TEXT",  # JSON
        "rev": "INTEGER",
    },
    (Index(("sessionId",)), Index(("open", "sessionId"), partial="open"), Index(("expiresAt",))),
)

#: What a session of WhatsApp Web is made of: its identity and its ratchets, as its library names them.
BAILEYS_KEYS: Final = Table(
    "baileys_keys",
    {
        "id": "TEXT",  # session id / kind / name
        "sessionId": "TEXT",
        "kind": "TEXT",
        "seq": "INTEGER",  # of the write: the latest stands
        "value": "BLOB",  # sealed text
    },
    (Index(("sessionId", "kind")),),
)

#: In the order in which a dump has to be loaded: keys before what they seal.
TABLES: Final = (META, SESSIONS, MESSAGES, BULKS, INBOX, PARKED, EVENTS, MEDIA, BAILEYS_KEYS)
BY_NAME: Final = {table.name: table for table in TABLES}
