import ctypes
import os

# Arrow's own allocator keeps by thread what was freed, and each run has threads of its own: a driver that follows grew by
# some 100 MB in half an hour. It is as fast with the system's. Arrow reads this when it is loaded, so it stands here.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

# For the same reason glibc shares memory between threads: two places for all of them, where it would have eight for each
# processor. It reads MALLOC_ARENA_MAX by itself, before anything of ours is loaded.
_M_ARENA_MAX = -8  # malloc.h
_c_library = ctypes.CDLL(None)
if "MALLOC_ARENA_MAX" not in os.environ and hasattr(_c_library, "gnu_get_libc_version"):
    _c_library.mallopt(_M_ARENA_MAX, 2)
