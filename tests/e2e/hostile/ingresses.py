"""Not a test: which cases run where, and what an ingress answers differently and why."""

from __future__ import annotations

DIFFERENCES: dict[str, dict[str, str]] = {
    "direct": {},
    "envoy": {
        "floods": "Envoy ends a connection that does nothing but open and reset streams",
    },
    "serve": {
        "slow-clients": "uvicorn has no limit for a head or a body that comes slowly",
        "unfinished-calls": "grpcio answers a call only when its message is whole; until then it "
        "waits for the client, its deadline or the end of its connection",
        "forgiven-calls": "grpcio ignores flags it does not know and what is behind a message",
        "own-codes": "grpcio answers some of what is broken by itself, with codes of its own",
        "own-parser": "Serve's proxy parses protobuf itself, with codes of its own",
        "own-words": "what uvicorn cannot parse it answers in plain text, or closes",
        "paths-as-they-are": "nobody takes `..` out of a path",
        "streams": "Serve's proxy is not asked to pass streams from clients on",
        "ids-in-utf-8": "Serve's proxy decodes x-request-id as UTF-8",
        "own-ids": "Serve's proxy adds a request id where ours cannot be a header",
        "few-calls": "each call crosses three processes of Python: tens of thousands are too many",
        "cancelled-beside": "calls that are reset by the thousand may take others with them in "
        "Serve's proxy (CANCELLED), until the resets are worked off",
        "proxy-log": "Serve's proxy logs a traceback for a call that was cancelled",
    },
}
"""By ingress, what is not in our hands; tests ask `target.differs(name)`."""

# A few cases of every kind on Envoy too whenever the tests run; all others are `long` where the
# ingress is not the default, and behind Serve all are. None stands for a test without cases.
EVERYWHERE: dict[str, set[str | None] | None] = {
    "test_no_request": {"empty", "nan", "deep-data", "5000-digits", "lone-surrogate-name", "bom"},
    "test_a_key_twice": {"inputs", "id-escaped"},
    "test_shapes_in_json": {"product-wraps-to-0-four", "minus-1-four", "rank-100000-no-data"},
    "test_nothing_is_coerced": {"300-to-int8-flat", "text-to-bool-nested", "over-uint64-flat"},
    "test_header_that_lies": {"minus-1", "larger-than-the-body", "99999999999", "two-numbers"},
    "test_two_headers_are_not_one_of_them": None,
    "test_size_that_lies": {"minus-1", "past-the-end", "text"},
    "test_bytes_that_do_not_add_up": {"bytes-left-over", "with-data-too", "one-byte-short"},
    "test_lengths_that_do_not_add_up": {"element-cut", "largest-length"},
    "test_raw_and_typed_mixed": None,
    "test_what_is_no_message": {"ones-ModelInfer", "deep-groups-ModelInfer"},
    "test_a_message_over_the_limit": {"1000"},
    "test_methods_that_are_not_there": None,
    "test_a_bomb_is_stopped_at_the_limit": {"gzip"},
    "test_unknown_encodings": {"br"},
    "test_models_in_paths": {"parent", "encoded-dots", "encoded-slash", "not-utf-8", "only-nul",
                             "nul", "newline", "10-kB", "raw-high-bytes"},
    "test_a_legal_name_with_dots_passes": {"/v2/models/a..b/infer"},
    "test_request_lines": {"connect", "trace", "long-path"},
    "test_framing": {"length-and-chunked-smuggling", "chunked-and-length-smuggling", "two-lengths",
                     "nul-in-value", "chunk-size-text", "newline-in-name", "a-header-of-200-kB"},
    "test_a_length_that_is_only_declared": {"16777217"},
    "test_a_body_that_comes": {"1-False"},
    "test_an_upgrade_that_is_not_offered": {"websocket", "h2c"},
    "test_slow_clients_are_cut_off": {None},
    "test_one_byte_chunks": {"65537"},
    "test_of_the_request": {"timeout-negative", "reserved-vigil"},
    "test_class_counts": {"-1", "1001"},
    "test_outputs_twice_and_a_million": {None},
    "test_ids_come_back_as_they_went": {"newline", "ansi"},
    "test_ids_that_are_too_long": {"10000"},
    "test_ids_in_headers": None,
    "test_paths": {"no-slash", "unknown-method"},
    "test_no_message": {None},
    "test_broken_messages": {"compressed-without-encoding-ModelInfer", "flag-2-ModelStreamInfer",
                             "size-over-the-limit-ModelInfer"},
    "test_frames_that_are_wrong": {"goaway", "headers-with-broken-hpack"},
    "test_half_closed_and_open_streams_hold_up_nobody": {None},
    "test_json_and_binary": {"http_port"},
}  # fmt: skip


def is_everywhere(test: str, case: str | None) -> bool:
    """Tell if a case belongs to the few; a test with None for its cases has all of them in."""
    if test not in EVERYWHERE:
        return False
    cases = EVERYWHERE[test]
    return cases is None or case in cases
