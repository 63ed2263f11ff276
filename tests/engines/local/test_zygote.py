"""A real zygote makes roles that are children of this process; its own end is told."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from serving.channel.messages.directory import ServedModel
from serving.config import InputSpec, ModelConfig, OutputSpec
from serving.config.encoded import encode_config
from serving.engines.children import ZygoteClient


@pytest.fixture
async def zygote() -> AsyncIterator[ZygoteClient]:
    client = ZygoteClient()
    await client.start()
    yield client
    async with asyncio.timeout(60):
        await client.stop()


async def gone(pid: int) -> None:
    async with asyncio.timeout(60):
        while Path(f"/proc/{pid}").exists():  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.01)


async def test_it_imports_what_a_format_needs_once_and_stays_one_thread(
    zygote: ZygoteClient, tmp_path: Path
) -> None:
    pytest.importorskip("skops", reason="needs skops, from vigil[sklearn]")
    inputs = [InputSpec(name="x", datatype="FP32", shape=[-1, 2])]
    outputs = [OutputSpec(name="y", datatype="FP32", shape=[-1])]
    assert zygote._process is not None
    pid = zygote._process.pid
    address = f"unix:{tmp_path}/r"
    for of, ident in (("torch_export", "a"), ("sklearn", "b"), ("sklearn", "c")):
        config = ModelConfig(format=of, inputs=inputs, outputs=outputs)
        absent = ServedModel("m", "1", encode_config(config), str(tmp_path / "nowhere"))
        async with asyncio.timeout(60):
            child = await zygote.fork(
                "replica", absent, ident, address, "unix:/control plane", None
            )
            assert await child.wait() == 1
        mapped = Path(f"/proc/{pid}/maps").read_text()  # noqa: ASYNC240
        assert ("site-packages/sklearn/" in mapped) == (of == "sklearn")
        # A fork copies only the thread that forks.
        assert len(list(Path(f"/proc/{pid}/task").iterdir())) == 1  # noqa: ASYNC240


async def test_it_has_torch_only_where_a_model_needs_it(
    zygote: ZygoteClient, tmp_path: Path
) -> None:
    assert zygote._process is not None
    maps = Path(f"/proc/{zygote._process.pid}/maps")
    tensor = {"datatype": "FP32", "shape": [-1, 2]}
    config = ModelConfig.model_validate({
        "format": "python", "factory": "net:build", "trust_code": True,
        "inputs": [{"name": "x", **tensor}], "outputs": [{"name": "y", **tensor}],
    })  # fmt: skip
    for name, code in (("without", "import numpy\n"), ("with", "import torch\n")):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1" / "net.py").write_text(code)
        served = ServedModel(name, "1", encode_config(config), str(tmp_path / name / "1"))
        address = f"unix:{tmp_path}/r"
        async with asyncio.timeout(60):
            child = await zygote.fork("replica", served, name, address, "unix:/nobody", None)
            assert await child.wait() == 1  # its code builds nothing
        mapped = maps.read_text()  # noqa: ASYNC240
        assert ("site-packages/torch/" in mapped) == (name == "with")


async def test_it_forks_tells_the_end_and_its_own_end_fails_what_waits(
    zygote: ZygoteClient, tmp_path: Path
) -> None:
    nothing = ServedModel("m", "1", b"no configuration", str(tmp_path))
    address = f"unix:{tmp_path}/r"
    async with asyncio.timeout(60):
        # A role that cannot start ends with a code, and the zygote goes on.
        for role in ("replica", "explainer"):
            child = await zygote.fork(
                role, nothing, f"{role}-0", address, "unix:/control plane", None
            )
            assert await child.wait() == 1
        many = [
            await zygote.fork("replica", nothing, f"r{n}", address, "unix:/control plane", b"\0")
            for n in range(5)
        ]
        assert len({child.pid for child in many}) == 5
        assert [await child.wait() for child in many] == [1] * 5
    assert not zygote.lost.done()

    assert zygote._process is not None
    pid = zygote._process.pid
    os.kill(pid, signal.SIGSTOP)  # so that what it is told now waits
    asked = asyncio.create_task(
        zygote.fork("replica", nothing, "late", address, "unix:/control plane", None)
    )
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ConnectionError):
        async with asyncio.timeout(60):
            await asked
    assert zygote.lost.done()
    await gone(pid)
    with pytest.raises(ConnectionError):
        await zygote.fork("replica", nothing, "later", address, "unix:/control plane", None)
