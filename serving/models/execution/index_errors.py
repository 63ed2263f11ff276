"""Recognises errors of an index that is out of range, as torch and ONNX Runtime word them.

Neither has an error class for it: embeddings raise `IndexError`, `gather` and `one_hot` raise
`RuntimeError`, and compiled code has messages of its own. Whether the index came with a request is
for the caller to find out.
"""

from __future__ import annotations

import re
from typing import Final

_MESSAGE: Final = re.compile(
    r"out of (range|\w* ?bounds)"  # embedding, index_select, gather, scatter, take, compiled code
    r"|not in the valid range"  # embedding_bag
    r"|class values must be"  # one_hot
    r"|inconsistent with indices|negative index"  # sparse tensors
    r"|invalid (max )?ind(ex|ice)"  # max_unpool; GatherND and ScatterND of ONNX
    r"|non-negative integral",  # bincount
    re.IGNORECASE,
)
_ONNX_PREFIX: Final = "Status Message: "
_MOST: Final = 200


def told_index_error(error: BaseException) -> str | None:
    """Return what an error says of an index that is out of range; None if it says nothing such."""
    message = " ".join(str(error).split()).rpartition(_ONNX_PREFIX)[2]
    return message[:_MOST].rstrip(".") if _MESSAGE.search(message) else None
