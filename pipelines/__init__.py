import os

# Arrow's own allocator keeps by thread what was freed, and each run has threads of its own: a driver that follows grew by
# some 100 MB in half an hour. It is as fast with the system's. Arrow reads this when it is loaded, so it stands here.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
