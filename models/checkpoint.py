"""Tensors in files: written whole, checked when read, and never run.

The format is PyTorch's, a ZIP archive, with a SHA-256 of all before it as the archive's comment.
(The checksums inside are not enough: zipfile and PyTorch find the parts of an archive in different
ways, and a flipped bit can lead one of them astray.)
"""

import hashlib
import io
import os
import pickle
from pathlib import Path

import torch

from models.files import replacing

HEX = 64  # digits of a SHA-256


def write(path: Path, contents: dict) -> None:
    """Tensors and plain values in nested dicts and lists. The same contents give the same bytes."""
    # Not straight to the file: PyTorch names the archive after it, and aborts when a disk is full.
    buffer = io.BytesIO()
    torch.save(contents, buffer)
    archive = buffer.getvalue()[:-2] + HEX.to_bytes(2, "little")  # the length of the comment
    with replacing(path) as temporary:
        temporary.write_bytes(archive + hashlib.sha256(archive).hexdigest().encode())


def read(path: Path, mmap: bool = False) -> dict:
    """What `write` wrote; `mmap` maps the tensors instead of copying them.

    Raises:
        ValueError: the file is damaged, or holds more than tensors and plain values.
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size - HEX  # of this file: another may replace it now
        while left > 0:  # piece by piece, for data that are large
            piece = file.read(min(left, 2**20))
            digest.update(piece)
            left -= len(piece)
        checksum = file.read()
    if digest.hexdigest().encode() != checksum:
        raise ValueError(f"{path}: damaged, its checksum is wrong; delete it and it is made again")
    try:
        return torch.load(path, weights_only=True, mmap=mmap)
    except pickle.UnpicklingError:
        raise ValueError(f"{path}: holds more than tensors; nothing in it was run") from None
