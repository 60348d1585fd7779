"""Supervision: restart policy, and the sessions that live under it."""
