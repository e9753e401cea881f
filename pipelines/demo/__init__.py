"""The demo: a small world of people, studies and devices, told in two acts on real parts, and what must come of it."""
