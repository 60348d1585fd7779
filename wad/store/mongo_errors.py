"""What an error of MongoDB means for the operation that met it.

error                                        what it means             what is done
server selection, connection, NotPrimary     not attempted, or unknown the same again, within the budget
network timeout, time limit exceeded         unknown                   the same again, within the budget
write concern failed (64, 100, ...)          applied, maybe not safe   the same again, within the budget
duplicate key                                in the way, or our own    read the row: our rev is success
a document or command that is wrong          ours                      goes up as it is
anything else                                the server's affair       StoreUnavailable
"""

from __future__ import annotations

from typing import Final

from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DocumentTooLarge,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)

DUPLICATE: Final = 11000
#: Codes after which the same operation may succeed: elections, shutdowns, conflicts, time limits.
_PASSING: Final = frozenset(
    {6, 7, 24, 46, 50, 64, 89, 91, 100, 112, 134, 189, 202, 262, 317, 358, 9001, 10107, 11600, 11602, 13435}
    | {13436}
)
#: Codes of what we ask for wrongly. Waiting would never end.
OURS: Final = frozenset({2, 9, 14, 26, 40, 52, 55, 56, 57, 59, 66, 67, 72, 85, 86, 121, 10334, 17419})


class NotDurable(Exception):
    """A bulk write whose durability is not known."""


def may_pass(error: Exception) -> bool:
    match error:
        case NotDurable() | ConnectionFailure() | WTimeoutError():
            return True
        case OperationFailure(code=code):
            return code in _PASSING
        case PyMongoError(timeout=True):
            return True
        case _:
            return False


def is_ours(error: Exception) -> bool:
    match error:
        case DocumentTooLarge() | BulkWriteError():
            return True
        case OperationFailure(code=code):
            return code in OURS
        case _:
            return False
