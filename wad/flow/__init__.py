"""The flow service: what answers inbound messages."""
