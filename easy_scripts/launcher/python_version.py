"""Whether the Python that was started can be used at all.

Read by every Python, however old, so that it gets a sentence and not a syntax error: no
annotations, no f-strings, nothing newer than Python 2.7 in this file and in __main__.py.
"""

import struct
import sys

OLDEST = (3, 10)
NEWEST = (3, 13)


def refuse_python(version, bits):
    """One sentence that says why this Python cannot be used, or None when it can.

    version: (major, minor); bits: 32 or 64, the width of a pointer.
    """
    wanted = "Python 3.10, 3.11, 3.12 or 3.13 (64-bit)"
    found = str(version[0]) + "." + str(version[1])
    if tuple(version) < OLDEST:
        return "Easy LoRA needs " + wanted + "; this is Python " + found + ", which is too old."
    if tuple(version) > NEWEST:
        return (
            "Easy LoRA needs " + wanted + "; this is Python " + found + ", which is so new that "
            "PyTorch may not be ready for it."
        )
    if bits != 64:
        return (
            "Easy LoRA needs " + wanted + "; this is a 32-bit Python " + found + ", for which "
            "there is no PyTorch."
        )
    return None


def refuse_this_python():
    """`refuse_python` for the running interpreter."""
    return refuse_python(sys.version_info[:2], struct.calcsize("P") * 8)
