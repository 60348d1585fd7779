"""WhatsApp Web: the Baileys library, in Node processes that wad starts, fills with sessions and watches.

Python decides, Node talks. A bridge (wad/node/bridge) holds the sockets of some sessions and knows nothing of wad; here is
what opens them, judges why they close, and turns their messages into wad's words and wad's into theirs.
"""
