"""The inside of wad in a world that is made of one number: every fault and every turn of it follows from the seed.

`python -m tests.simulation 1234` plays the world of seed 1234 again, and tells what happened in it.
"""
