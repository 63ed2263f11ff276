#!/bin/sh
# Says what is missing before an installation starts: check-python.sh [PYTHON]
python=${1:-python3.11}

# Running it, and not just finding it: pyenv has a shim for every Python, chosen or not.
if ! "$python" -c '' >/dev/null 2>&1; then
    echo "Vigil needs Python 3.11, and '$python' does not run." >&2
    echo "  Debian 12:       apt-get install python3.11 python3.11-venv libpython3.11" >&2
    echo "  elsewhere:       make PYTHON=/path/to/python3.11 ..." >&2
    exit 1
fi

exec "$python" - <<'PYTHON'
import importlib.util
import sys
import sysconfig
from pathlib import Path

missing = []
if sys.version_info[:2] != (3, 11):
    sys.exit(f"Vigil needs Python 3.11; {sys.executable} is {sys.version.split()[0]}. "
             "Give another one with make PYTHON=/path/to/python3.11")
if not all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
    missing.append(("python3.11-venv", "Python's module venv is missing"))

# Envoy loads Python as a shared library. A Python of pyenv has none unless it was built with
# --enable-shared; the system's library of the same 3.11 does as well.
folders = [sysconfig.get_config_var("LIBDIR") or "", f"{sys.base_prefix}/lib"]
multiarch = sysconfig.get_config_var("MULTIARCH")
if multiarch:
    folders.append(f"/usr/lib/{multiarch}")
names = ("libpython3.11.so", "libpython3.11.so.1.0")
if not any((Path(folder) / name).is_file() for folder in folders for name in names):
    missing.append(("libpython3.11", "the shared library libpython3.11, which Envoy loads, is missing"))

for _package, what in missing:
    print(what, file=sys.stderr)
if missing:
    sys.exit("On Debian: apt-get install " + " ".join(package for package, _what in missing))
PYTHON
