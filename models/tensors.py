"""Tensors in files: written whole, checked when they are read, and never run as code.

The format is PyTorch's, a ZIP archive, and the archive's comment is a SHA-256 of all bytes before
it. The checksums inside of a ZIP archive are not enough: zipfile and PyTorch find the parts of an
archive in different ways, and a flipped bit can lead one of them astray.
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
    """Write tensors and plain values in nested dicts and lists; equal contents give equal bytes."""
    # PyTorch does not write the file itself: it would name the archive after the file, and it
    # aborts when the disk is full.
    buffer = io.BytesIO()
    torch.save(contents, buffer)
    archive = buffer.getvalue()[:-2] + HEX.to_bytes(2, "little")  # the length of the comment
    with replacing(path) as temporary:
        temporary.write_bytes(archive + hashlib.sha256(archive).hexdigest().encode())


def read(path: Path, mmap: bool = False) -> dict:
    """Return the contents of a file that `write` made; `mmap` maps tensors instead of copying them.

    A ValueError says that the file is damaged, or holds more than tensors and plain values.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        # The size is that of the open file, which another file may replace at any moment.
        left = os.fstat(file.fileno()).st_size - HEX
        while left > 0:  # large files are read piece by piece
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
