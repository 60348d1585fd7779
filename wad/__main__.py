"""`python -m wad` is the `wad` command."""

from wad.cli import main

main()
