"""Actors: one a session, its mailbox, its lanes, its limiter and its breaker."""
