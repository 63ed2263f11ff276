"""Metadata of the server and of models, and its JSON form."""

from __future__ import annotations

from typing import Final

import msgspec

from serving.protocol.datatypes import numpy_dtype


class TensorMetadata(msgspec.Struct, frozen=True):
    """Name, datatype and shape of an input or output; -1 marks a dimension of any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    @property
    def item_size(self) -> int:
        """Bytes of one element; meaningless for BYTES."""
        return numpy_dtype(self.datatype).itemsize


class ModelMetadata(msgspec.Struct, frozen=True):
    """What `GET /v2/models/{m}` and ModelMetadata tell of a model."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


class ServerMetadata(msgspec.Struct, frozen=True):
    """What `GET /v2` and ServerMetadata tell of the server."""

    name: str
    version: str
    extensions: tuple[str, ...]


_encode: Final = msgspec.json.Encoder().encode


def encode_metadata(metadata: ServerMetadata | ModelMetadata) -> bytes:
    """Return the JSON body for server or model metadata, in OIP's field names."""
    return _encode(metadata)
