from tests.store.harness import engine, place, secantus, store

__all__ = ["engine", "place", "secantus", "store"]
