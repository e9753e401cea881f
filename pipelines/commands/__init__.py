"""The words of the command, a module each. Their process does without what nothing in a run uses."""

from pipelines.spared import spare

spare()
