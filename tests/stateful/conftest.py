from tests.store.harness import place, secantus

__all__ = ["place", "secantus"]
