from pathlib import Path


def test_a_bind_beyond_loopback_is_refused_without_insecure(vigil_process, tmp_path: Path) -> None:
    done = vigil_process("up", "--engine", "local", "--models", str(tmp_path), "--host", "0.0.0.0")
    assert done.returncode == 1
    assert "--insecure" in done.stderr
