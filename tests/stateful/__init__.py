"""State machines that Hypothesis plays against wad: whatever it does, in whatever order, the promises hold.

Limiter, breaker and lanes are played against reference models. Outbox and inbox are whole daemons, of supervisor,
actor and store, on every engine: memory, SQLite in a file, MongoDB behind a socket. Nothing happens there by itself.
A provider's answer, a tick of the clock, a customer's message, a crash: each is a step of Hypothesis', and a failure is
shrunk to the few steps that it takes.

`WAD_EXAMPLES=5000 pytest tests/stateful` plays for longer.
"""
