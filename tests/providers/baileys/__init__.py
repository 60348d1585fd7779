"""Tests of the provider `baileys`. `samples.json` holds messages that Baileys' own code made (samples.mjs)."""
