import pytest

from loadtest.load import LOADS, Load, check_size, parse_h2load, parse_replay, parse_wrk

WRK = """Running 2s test @ http://127.0.0.1:38065/v2/models/mlp/infer
  1 threads and 64 connections
  Requests/sec:  12387.03
RESULT {"requests":24780,"duration_us":2000484,"bytes":5451600,"p50_us":4760,"p99_us":12722,\
"connect":0,"read":0,"write":0,"status":%d,"timeout":%d}
"""

H2LOAD = """finished in 1.94s, 20608.67 req/s, 2.64MB/s
requests: 4 total, 4 started, 4 done, {succeeded} succeeded, {failed} failed, 0 errored, 0 timeout
status codes: {ok} 2xx, 0 3xx, 0 4xx, {bad} 5xx
traffic: 5.14MB (5388480) total, 1.03MB (1077696) headers (space savings 80.00%), 200B (200) data
                     min         max         mean         sd        +/- sd
time for request:      450us     11.58ms      3.08ms       728us    83.50%
"""
LOG = "1700000000000000\t200\t100\n1700000000000001\t200\t200\n1700000000000002\t200\t300\n"


def test_wrk_result_is_read():
    measured, per_answer = parse_wrk(WRK % (0, 0))
    assert measured.requests_per_s == pytest.approx(24780 / 2.000484)
    assert (measured.p50_ms, measured.p99_ms) == (4.76, 12.722)
    assert per_answer == 220
    assert measured.problems == ()


def test_wrk_errors_make_the_round_invalid():
    measured, _ = parse_wrk(WRK % (3, 1))
    assert measured.problems == ("3 status errors", "1 timeout errors")


def test_wrk_without_an_answer_is_invalid():
    measured, _ = parse_wrk((WRK % (0, 0)).replace('"requests":24780', '"requests":0'))
    assert measured.problems == ("no request was answered",)


def test_wrk_that_printed_no_result_is_an_error():
    with pytest.raises(ValueError, match="wrk gave no result: unable to connect"):
        parse_wrk("unable to connect to 127.0.0.1:1 Connection refused")


def test_h2load_summary_and_log_are_read():
    output = H2LOAD.format(succeeded=4, failed=0, ok=4, bad=0)
    measured, per_answer = parse_h2load(output, LOG)
    assert measured.requests_per_s == 20608.67
    assert measured.p50_ms == pytest.approx(0.2)
    assert measured.p99_ms == pytest.approx(0.298)
    assert per_answer == 50
    assert measured.problems == ()


def test_h2load_failures_make_the_round_invalid():
    measured, _ = parse_h2load(H2LOAD.format(succeeded=3, failed=1, ok=3, bad=1), LOG)
    assert measured.problems == ("1 requests failed", "1 answers were not 2xx")


def test_h2load_without_a_summary_is_an_error():
    with pytest.raises(ValueError, match="h2load gave no line"):
        parse_h2load("starting benchmark...", "")


def test_an_error_in_disguise_shows_by_its_size():
    assert check_size("grpc", per_answer=50, size=50) is None
    assert "0 bytes" in (check_size("grpc", per_answer=0, size=50) or "")
    assert check_size("grpc", per_answer=60, size=50)


def test_http_bytes_include_headers():
    assert check_size("json", per_answer=300, size=157) is None
    assert check_size("json", per_answer=100, size=157)


def test_loads_have_different_names():
    names = [load.name for load in LOADS]
    assert len(set(names)) == len(names)
    assert Load("grpc", 4, 16).name == "grpc-4x16"
    assert Load("json", 64).name == "json-64"
    assert Load("json", 64, unique=True).name == "json-64-unique"


REPLAY = {"seconds": 2.0, "requests": 10, "bytes": 500, "p50_ms": 1.0, "p99_ms": 2.0, "cpu": 0.3}


def test_a_replay_is_read():
    found = {**REPLAY, "statuses": {"200": 10}, "problems": []}
    measured, per_answer = parse_replay(found)
    assert (measured.requests_per_s, measured.p50_ms, measured.p99_ms) == (5.0, 1.0, 2.0)
    assert (measured.generator_cpu, per_answer, measured.problems) == (0.3, 50, ())


def test_answers_of_a_replay_that_are_not_right_make_the_round_invalid():
    found = {**REPLAY, "statuses": {"200": 8, "no message": 2}, "problems": ["1 times: lost"]}
    assert parse_replay(found)[0].problems == ("1 times: lost", "2 answers: no message")
