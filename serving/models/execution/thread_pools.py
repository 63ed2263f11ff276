"""Thread pools of BLAS and OpenMP in this process: found, and limited."""

from __future__ import annotations

import ctypes
from typing import Any, Final

from threadpoolctl import ThreadpoolController


class _Loaded(ctypes.Structure):
    """`struct dl_phdr_info` of glibc and musl, as far as its count of loaded libraries."""

    _fields_ = (
        ("addr", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("phdr", ctypes.c_void_p),
        ("phnum", ctypes.c_uint16),
        ("adds", ctypes.c_ulonglong),
    )


_Visit: Final = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(_Loaded), ctypes.c_size_t, ctypes.POINTER(ctypes.c_ulonglong)
)


def _first(library: Any, _size: int, adds: Any) -> int:
    adds[0] = library[0].adds
    return 1  # each library tells the same count


_take_first: Final = _Visit(_first)
_visit_libraries: Final = ctypes.CDLL(None).dl_iterate_phdr
_visit_libraries.argtypes = (_Visit, ctypes.POINTER(ctypes.c_ulonglong))


def libraries_loaded() -> int:
    """Return how many libraries this process has ever loaded; microseconds."""
    adds = ctypes.c_ulonglong()
    _visit_libraries(_take_first, ctypes.byref(adds))
    return adds.value


class _Pools:
    """The libraries with thread pools of their own that this process has loaded.

    Attributes:
        loaded: how many libraries had been loaded when they were looked for.
    """

    def __init__(self) -> None:
        self.loaded = -1
        self._found: list[Any] = []

    def of(self, api: str) -> list[Any]:
        """Return those with this programming interface; milliseconds if one was loaded since."""
        if self.loaded != libraries_loaded():
            self._found = ThreadpoolController().lib_controllers
            self.loaded = libraries_loaded()  # looking may itself have loaded something
        return [library for library in self._found if library.user_api == api]


_pools: Final = _Pools()


def libraries_when_looked() -> int:
    """Return how many libraries had been loaded when pools were last looked for."""
    return _pools.loaded


def limit_blas(threads: int) -> None:
    """Limit the pools of BLAS, for the whole process."""
    for library in _pools.of("blas"):
        library.set_num_threads(threads)


def limit_openmp(threads: int) -> None:
    """Limit the pools of OpenMP, for loops that the calling thread starts.

    Loops that name a number of threads themselves are limited as well. Boosters do that: they ask
    for every core unless they are told otherwise, each in its own way. GNU's library keeps that
    limit (`thread-limit-var`) per thread, and has it set by the entry that compilers call for
    `teams thread_limit(n)`.
    """
    for library in _pools.of("openmp"):
        library.set_num_threads(threads)
        teams = getattr(library.dynlib, "GOMP_teams", None)
        if teams is not None:
            teams(ctypes.c_uint(1), ctypes.c_uint(threads))
