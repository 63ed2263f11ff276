"""Remakes the generated modules from the `.proto` files beside this file.

Run from the repository root: `python -m serving.protocol.pb.generate`; with `--check` it
writes nothing and fails when a generated module is out of date. Needs grpcio-tools.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path("serving/protocol/pb")
ROOT = Path(__file__).resolve().parents[3]

_DEFAULT_POOL = "_descriptor_pool.Default()"
_DEFAULT_POOL_IMPORT = "from google.protobuf import descriptor_pool as _descriptor_pool\n"
_OWN_POOL_IMPORT = "from serving.protocol.pb.pool import POOL as _POOL\n"


def generated() -> dict[Path, str]:
    """Return the text of every generated module, by its path from the repository root.

    Raises:
        subprocess.CalledProcessError: protoc refuses a `.proto` file.
        RuntimeError: protoc's output no longer has the form that is adapted here.
    """
    sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / FOLDER).glob("*.proto"))
    with tempfile.TemporaryDirectory() as out:
        # Run from the root, so that modules get importable names and messages can be pickled.
        subprocess.run(
            [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--python_out={out}",
             f"--pyi_out={out}", f"--grpc_python_out={out}", *sources],
            cwd=ROOT,
            check=True,
        )  # fmt: skip
        return {
            path.relative_to(out): _own_pool(path)
            for path in sorted(Path(out).rglob("*_pb2*.py*"))
        }


def _own_pool(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if not path.name.endswith("_pb2.py"):
        return text
    if text.count(_DEFAULT_POOL) != 1 or _DEFAULT_POOL_IMPORT not in text:
        raise RuntimeError(f"{path.name}: protoc's output no longer names the default pool once")
    text = text.replace(_DEFAULT_POOL_IMPORT, _OWN_POOL_IMPORT)
    return text.replace(_DEFAULT_POOL, "_POOL")


def main(arguments: list[str]) -> int:
    """Write the modules, or with `--check` compare them; return the exit status."""
    files = generated()
    if arguments != ["--check"]:
        for path, text in files.items():
            (ROOT / path).write_text(text, encoding="utf-8")
        return 0
    stale = [
        str(path)
        for path, text in files.items()
        if not (ROOT / path).is_file() or (ROOT / path).read_text(encoding="utf-8") != text
    ]
    if stale:
        sys.stderr.write(f"out of date: {', '.join(stale)}; run {FOLDER}/generate.py\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
