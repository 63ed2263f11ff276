import sys
from pathlib import Path

import pytest

from loadtest.peers import triton_examples
from loadtest.peers.triton_examples import Verdict, excluded, run

PYTHON = Path(sys.executable)
AT = {"grpc": "localhost:1"}


def written(folder: Path, *lines: str) -> Path:
    """Return a file of a name that is run in two ways: with and without -v."""
    file = folder / "grpc_client.py"
    file.write_text("\n".join(["import sys", *lines]))
    return file


def test_a_file_passes_when_all_its_ways_do(tmp_path):
    file = written(tmp_path, "assert sys.argv[1:3] == ['-u', 'localhost:1']", "print('PASS')")
    assert run(PYTHON, file, AT) == Verdict("grpc_client", "passed, runs: 2")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("sys.exit(3 * ('-v' in sys.argv))", "-u {grpc} -v: 3"),
        ("if '-v' not in sys.argv: print('PASS: this')", "-u {grpc} -v: 0"),
        ("if '-v' not in sys.argv: print(\"PASS\")", "-u {grpc} -v: 0"),
        ("raise ValueError('this')", "ValueError: this"),
    ],
)
def test_a_file_fails_with_any_of_its_ways(tmp_path, line, said):
    verdict = run(PYTHON, written(tmp_path, line), AT)
    assert verdict.outcome == "failed"
    assert said in verdict.said


def test_a_file_that_hangs_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(triton_examples, "LIMIT_S", 0.5)
    verdict = run(PYTHON, written(tmp_path, "import time", "time.sleep(60)"), AT)
    assert verdict == Verdict("grpc_client", "failed", "-u {grpc}: no end within 0.5 s")


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("import tritonclient.utils.cuda_shared_memory as cudashm", "shared memory"),
        ("client.infer(name, inputs, sequence_id=7)", "sequences"),
        ('model_name = "repeat_int32"', "decoupled models"),
        ("triton_client.load_model(model_name, config=config)", "load with config"),
        ("triton_client.load_model(model_name)", None),
    ],
)
def test_what_vigil_does_not_do_is_told_from_the_source(source, kind):
    assert excluded(source) == kind
