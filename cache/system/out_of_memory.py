"""Recognises the errors of Python and of libraries that mean out of memory, without importing torch."""

from __future__ import annotations

__all__ = ["is_out_of_memory"]

# The CPU, Apple's devices, pinned memory and CUDA's libraries raise a plain RuntimeError with these words, HDF5 and
# Pillow an OSError; cuDNN finds no engine where none of them gets its workspace.
WORDS = (
    "can't allocate memory", "out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED", "unable to find an engine",
    "memory allocation failed",
)  # fmt: skip


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error, or one that it was raised from, says that memory ran out.

    >>> is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")), is_out_of_memory(ValueError())
    (True, False)
    """
    while error is not None:
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        if isinstance(error, RuntimeError | OSError) and any(word.lower() in str(error).lower() for word in WORDS):
            return True
        error = error.__cause__
    return False
