"""Faults, and how they are brought about."""
