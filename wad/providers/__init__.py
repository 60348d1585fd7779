"""Providers: one module a way of reaching WhatsApp, all behind the contract in `base`."""
