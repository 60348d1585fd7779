"""Play one seed again, and tell what happens."""

import sys

from tests.simulation.play import play

story, faults = play(int(sys.argv[1]))
print("\n".join(story.trace))  # noqa: T201
print("\n".join(["", *faults]) if faults else "\nevery promise held")  # noqa: T201
sys.exit(bool(faults))
