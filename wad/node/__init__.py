"""Node child processes, and what they run: the bridge to WhatsApp Web, and the emulator that tests it.

`find.py` finds Node and the packages of `package.json`; `child.py` runs one child and speaks JSON lines with it
(the protocol stands in `lines.js`). What the children are for is their callers' affair.
"""
