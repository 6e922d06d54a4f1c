"""What NumPy raises on spoiled `.npy` and `.npz` files."""

import tokenize
import zipfile
import zlib

# A header is Python's own syntax for a dictionary, and says how much memory to ask for.
DAMAGE = (
    OSError,
    EOFError,
    AttributeError,
    LookupError,
    MemoryError,
    OverflowError,
    RecursionError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
