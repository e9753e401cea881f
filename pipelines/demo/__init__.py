"""The demo: a small world of people, studies and devices, told in three acts on real parts, and what must come of it."""
