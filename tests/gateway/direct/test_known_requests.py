"""What a connection, or its server, has seen before changes no answer: heads, blocks, templates."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from dataclasses import replace

from hpack import Encoder

from serving.gateway.direct.http1.shapes import Shapes
from serving.http2 import frames as f
from serving.protocol.pb.open_inference_pb2 import ModelInferRequest, ModelInferResponse

BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[%d,2]}]%b}'
PLACES = ["/v2/models/m/infer", "/v2/models/m/versions/1/infer", "/v2/models/q/infer", "/v2"]
HEADS = [
    "", "X-Request-Id: a\r\n", "X-Request-Id: b\r\n", "Inference-Header-Content-Length: 0\r\n",
    "X-Forwarded-For: 1.2.3.4\r\n", "Accept-Encoding: gzip\r\n", "Content-Encoding: gzip\r\n",
    "X-Request-Id: a\r\nX-Request-Id: b\r\n",
]  # fmt: skip
ENDS = [
    b"", b',"id":"own"', b',"outputs":[{"name":"y"}]', b',"outputs":[{"name":"z"}]',
    b',"parameters":{"binary_data_output":true}', b',"data":[3,4]', b'}],"inputs":[{',
]  # fmt: skip


def whole(generator: random.Random) -> bytes:
    """Return a request, right or wrong, whose length is told in either way."""
    body = BODY % (generator.randrange(100), generator.choice(ENDS))
    if generator.random() < 0.2:
        body = body.replace(b"[", b"[ ").replace(b",2]", b"]")
    head = f"POST {generator.choice(PLACES)} HTTP/1.1\r\nHost: v\r\n{generator.choice(HEADS)}"
    if generator.random() < 0.3:
        chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        return head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunks
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


def without_made_ids(answer):
    status, headers, body = answer
    ident = headers.pop("x-request-id", "")
    if len(ident) == 36:
        return status, headers, body.replace(ident.encode(), b"")
    return status, {**headers, "x-request-id": ident}, body


async def test_requests_in_a_row_are_answered_as_each_by_itself(connect, server):
    generator = random.Random(5)
    for _ in range(30):
        row = [whole(generator) for _ in range(generator.randrange(1, 8))]
        row += generator.choices(row, k=4)
        alone = []
        for each in row:
            server.shapes = Shapes()
            server.state.json_requests._known.clear()
            client = await connect()
            await client.send(each)
            alone.append(without_made_ids(await client.answer()))
            await client.close()
        client, everything = await connect(), b"".join(row)
        cuts = sorted(generator.choices(range(len(everything)), k=generator.randrange(9)))
        for start, end in itertools.pairwise([0, *cuts, len(everything)]):
            await client.send(everything[start:end])
        together = [without_made_ids(await client.answer()) for _ in row]
        for answer in (*alone, *together):
            answer[1].pop("date")
        assert together == alone
        await client.close()


async def test_two_connections_in_turns_get_their_own_answers(connect2):
    """Their header blocks and messages begin alike and mean something else."""
    clients = [await connect2() for _ in range(2)]
    for turn in range(20):
        calls = []
        for number, client in enumerate(clients):
            request = ModelInferRequest(model_name="m", id=f"{number}")
            request.inputs.add(name="x", datatype="FP32", shape=[1, 2])
            value = (turn * 2 + number).to_bytes(1, "big")
            request.raw_input_contents.append(b"\0\0" + value + b"\x40" + bytes(4))
            extra = [("x-of", f"{number}")] if turn % 3 else []
            calls.append((await client.call(request.SerializeToString(), *extra), value))
        for number, (client, (call, value)) in enumerate(zip(clients, calls, strict=True)):
            reply = ModelInferResponse.FromString((await client.answer(call)).body[5:])
            assert reply.id == f"{number}"
            assert reply.raw_output_contents[0][2] & 0x7F == value[0] & 0x7F


async def test_a_known_block_means_what_the_table_says_now(connect, server):
    """The same bytes, by an index into a table that has moved on, are another path."""
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["path"], dict(scope["headers"]).get(b"x-of")))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    server.state = replace(server.state, app=app)
    client, encoder = await connect(), Encoder()
    start = [(":method", "GET"), (":scheme", "http")]
    blocks = [encoder.encode([*start, (":path", "/first"), ("x-of", "1")])]
    known = encoder.encode([*start, (":path", "/first"), ("x-of", "1")])
    blocks += [known, known]
    blocks.append(encoder.encode([*start, (":path", "/second"), ("x-of", "2")]))
    blocks.append(known)  # its indexes are those of what came last
    await client.send(f.PREFACE + f.settings({}))
    for number, block in enumerate(blocks):
        flags = f.END_HEADERS | f.END_STREAM
        await client.send(f.frame(f.HEADERS, flags, 2 * number + 1, block))
    async with asyncio.timeout(60):
        while len(seen) < len(blocks):
            assert await client.reader.read(1 << 16)
    assert [path for path, _ in seen] == ["/first"] * 3 + ["/second"] * 2
    assert [value for _, value in seen] == [b"1"] * 3 + [b"2"] * 2


async def test_errors_stay_with_their_request(connect, post):
    """A refusal between two good requests of the same head, in one packet."""
    good, bad = post(), post(post()[post().index(b"{") :].replace(b"[1,2]}", b"[1,!]}"))
    client = await connect()
    await client.send(good + bad + good)
    assert [(await client.answer())[0] for _ in range(3)] == [200, 400, 200]
    await client.send(good)
    assert json.loads((await client.answer())[2])["outputs"][0]["data"] == [2.0, 4.0]
