import os

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
"""Arrow's own allocator keeps by thread what was freed, and each run has threads of its own: a driver that follows grew by
some 100 MB in half an hour. It is as fast with the system's; Arrow reads this when it is loaded.
"""
