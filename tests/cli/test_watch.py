def test_a_secret_is_never_an_argument(vigil) -> None:
    assert vigil("watch", "--upstream", "grpcs://127.0.0.1:1", "--token", "x").returncode == 2
    done = vigil("watch", "--upstream", "grpc://elsewhere:1", "--token-env", "HOME")
    assert done.returncode == 1
    assert "in the clear" in done.stderr


def test_asking_upstream_belongs_to_the_mirror(vigil):
    done = vigil("watch", "--upstream", "grpc://127.0.0.1:1", "--ask-upstream")
    assert done.returncode != 0
    assert "--ask-upstream belongs to --mirror" in done.stderr
