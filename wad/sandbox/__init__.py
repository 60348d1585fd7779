"""A simulated WhatsApp network, for flow authors and for the tests."""
