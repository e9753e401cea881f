"""The demo: a small world of people, studies and devices, told in four acts on real parts, and what must come of it."""
