"""Durable state: one contract, three engines."""
