"""`vigil watch`: what its command line refuses before it asks anybody."""

from pathlib import Path


def test_a_secret_is_never_an_argument(vigil) -> None:
    assert vigil("watch", "--upstream", "grpcs://127.0.0.1:1", "--token", "x").returncode == 2
    done = vigil("watch", "--upstream", "grpc://elsewhere:1", "--token-env", "HOME")
    assert done.returncode == 1
    assert "in the clear" in done.stderr


def test_a_model_has_one_example(vigil, tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text("{}")
    given = [f"--example={model}={file}" for model in ("m", "other", "m")]
    done = vigil("watch", "--upstream", "127.0.0.1:1", *given)
    assert done.returncode == 1
    assert "--example names model 'm' twice; leave one out" in done.stderr


def test_asking_upstream_belongs_to_the_mirror(vigil):
    done = vigil("watch", "--upstream", "grpc://127.0.0.1:1", "--ask-upstream")
    assert done.returncode != 0
    assert "--ask-upstream belongs to --mirror" in done.stderr
