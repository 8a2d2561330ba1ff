"""A safetensors file written tensor by tensor, so that what is written need not be in memory all at once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

# Widest first: the file holds tensors in this order, so that each starts at a multiple of its element's size.
_CODES = {
    torch.float64: "F64",
    torch.int64: "I64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int16: "I16",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.bool: "BOOL",
}


class TensorFile:
    """`add` tensors in any order, then `close`. The bytes depend on the tensors and on the order within a data type."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._spools: dict[torch.dtype, BinaryIO] = {}
        self._entries: list[tuple[torch.dtype, str, list[int], int, int]] = []

    def add(self, name: str, tensor: Tensor) -> None:
        """Append one tensor to the spool of its data type."""
        if tensor.dtype not in self._spools:
            self._spools[tensor.dtype] = open(f"{self._path}.{_CODES[tensor.dtype]}", "w+b")  # noqa: SIM115
        spool = self._spools[tensor.dtype]
        start = spool.tell()
        spool.write(tensor.contiguous().flatten().view(torch.uint8).numpy())
        self._entries.append((tensor.dtype, name, list(tensor.shape), start, spool.tell()))

    def close(self) -> None:
        """Write the file from the spools, and remove them."""
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        offset = 0
        spools = [(dtype, self._spools[dtype]) for dtype in _CODES if dtype in self._spools]
        for dtype, spool in spools:
            for kind, name, shape, start, stop in self._entries:
                if kind == dtype:
                    header[name] = {
                        "dtype": _CODES[dtype],
                        "shape": shape,
                        "data_offsets": [offset + start, offset + stop],
                    }
            offset += spool.tell()
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with open(self._path, "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for _, spool in spools:
                spool.seek(0)
                shutil.copyfileobj(spool, file)
                spool.close()
                Path(spool.name).unlink()
