"""Readers of data read files in the genuine format, and data are prepared from them."""

import functools
import gzip
import hashlib
import http.server
import io
import json
import os
import struct
import tarfile
import threading
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import in_process
from PIL import Image, ImageOps

from models.data import prepare, readers
from models.data.augment import crop_and_flip, draw_crops
from models.data.prepare import Dataset, load, moments, standardised
from models.data.readers import SOURCES, Arrays, ImageFolder


def loaded(name: str, folder: Path, *shapes: tuple[int, ...]) -> Dataset:
    """Return a data set; assert that it has the shapes, and the facts that SOURCES states."""
    data = load(name, folder)
    assert (data.train_inputs.shape, data.test_inputs.shape) == shapes
    assert SOURCES[name].examples == len(data.train_targets)
    assert SOURCES[name].shape == shapes[0][1:]
    assert data.train_inputs.mean().item() == pytest.approx(0, abs=1e-4)
    assert data.train_inputs.std().item() == pytest.approx(1, abs=1e-3)
    return data


def test_mnist1d_is_the_canonical_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded("mnist1d", tmp_path, (4000, 1, 1, 40), (1000, 1, 1, 40))
    manifest = json.loads((tmp_path / "mnist1d.json").read_text())
    assert manifest["sha256"] == SOURCES["mnist1d"].sha256

    arrays = Arrays(np.arange(3.0), np.zeros(3), np.zeros(3), np.zeros(3))
    monkeypatch.setitem(SOURCES, "mnist1d", SOURCES["mnist1d"]._replace(read=lambda: arrays))
    with pytest.raises(ValueError, match="content hash"):
        prepare.prepare("mnist1d", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_digits_are_split_by_class(tmp_path: Path) -> None:
    digits = loaded("digits", tmp_path, (1437, 1, 8, 8), (360, 1, 8, 8))
    for label, total in enumerate([178, 182, 177, 183, 181, 182, 181, 179, 174, 180]):
        test = int((digits.test_targets == label).sum())
        assert test + int((digits.train_targets == label).sum()) == total
        assert test == pytest.approx(0.2 * total, abs=1)
    # A one is brighter in its middle column than a zero.
    middle = [digits.train_inputs[digits.train_targets == i, 0, 3:5, 4].mean() for i in (0, 1)]
    assert middle[1] > middle[0] + 1


@pytest.mark.skipif(
    not readers.FASHION_MNIST_PACKAGE.exists(),
    reason="Debian's package dataset-fashion-mnist is not installed",
)
def test_fashion_mnist_is_the_real_one(tmp_path: Path) -> None:
    fashion = loaded("fashion_mnist", tmp_path, (60_000, 1, 28, 28), (10_000, 1, 28, 28))
    assert fashion.train_targets.bincount().tolist() == [6000] * 10
    assert fashion.test_targets.bincount().tolist() == [1000] * 10
    manifest = json.loads((tmp_path / "fashion_mnist.json").read_text())
    # Everybody quotes a mean of 0.2860 and a standard deviation of 0.3530, for pixels from 0 to 1.
    assert manifest["mean"] == pytest.approx([0.2860 * 255], abs=0.02)
    assert manifest["std"] == pytest.approx([0.3530 * 255], abs=0.02)


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(header + array.tobytes())


def test_idx_is_read_as_its_definition_says(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (3, 5, 4), np.uint8)
    (tmp_path / "images.gz").write_bytes(idx(array))
    np.testing.assert_array_equal(readers.read_idx(tmp_path / "images.gz"), array)


def cifar_archive(path: Path, **changed: bytes) -> np.ndarray:
    """Write an archive in the official layout, with four records a file, and return the records."""
    records = np.random.default_rng(0).integers(0, 256, (6, 4, 3073), np.uint8)
    records[:, :, 0] %= 10
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    with tarfile.open(path, "w:gz") as tar:
        for name, content in zip(names, records, strict=True):
            body = changed.get(name, content.tobytes())
            if body is not None:
                info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
                info.size = len(body)
                tar.addfile(info, io.BytesIO(body))
    return records


def test_cifar10_is_read_from_its_binary_archive(tmp_path: Path) -> None:
    records = cifar_archive(tmp_path / "cifar.tar.gz")
    x, y, x_test, _ = readers.read_cifar10(tmp_path / "cifar.tar.gz")
    assert (x.shape, x_test.shape) == ((20, 3, 32, 32), (4, 3, 32, 32))
    assert y[6] == records[1, 2, 0]
    # Channels first, then rows: green of row 2, column 3 is byte 1 + 1024 + 67.
    assert x[6, 1, 2, 3] == records[1, 2, 1 + 1024 + 2 * 32 + 3]
    assert x_test[3, 2, 31, 31] == records[5, 3, -1]


def test_a_download_is_checked_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is a real one, on this machine."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www/data.bin").write_bytes(b"genuine")
    md5 = hashlib.md5(b"genuine").hexdigest()
    monkeypatch.setenv("DEGRADATION_DATA", str(tmp_path / "cache"))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "www")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        for content in (b"changed", b"gone"):  # on the server, not in the cache
            assert readers.download(f"{url}/data.bin", md5).read_bytes() == b"genuine"
            (tmp_path / "www/data.bin").write_bytes(content)
        path, before = tmp_path / "cache/data.bin", os.umask(0)
        os.umask(before)
        assert path.stat().st_mode & 0o777 == 0o666 & ~before  # others may share the folder
        path.unlink()
        with pytest.raises(OSError, match=r"^.*MD5 checksum is not.*\Z"):
            readers.download(f"{url}/data.bin", md5)
        assert not list((tmp_path / "cache").iterdir())
        with pytest.raises(OSError, match=r"cannot be downloaded .*put it into"):
            readers.download(f"{url}/absent.bin", md5)
        server.shutdown()
    for proxy in ("socks5h://127.0.0.1:1080", "http://:8080", "http://[::1", "http://a b"):
        monkeypatch.setenv("http_proxy", proxy)
        with pytest.raises(OSError, match=r"cannot be downloaded \((?!its MD5).*put it into"):
            readers.download("http://example.invalid/data.bin", md5)
    assert not list((tmp_path / "cache").iterdir())


def photos(folder: Path, layout: str = "{name}") -> None:
    """Write red and green pictures of many sizes and formats into class folders."""
    generator = np.random.default_rng(0)
    for name, channel in (("red", 0), ("green", 1)):
        target = folder / layout.format(name=name)
        target.mkdir(parents=True, exist_ok=True)
        for i, size in enumerate([(20, 30), (40, 17), (16, 16), (64, 50)] * 2):
            pixels = generator.integers(0, 40, (*size, 3), np.uint8)
            pixels[..., channel] = 200
            suffix = ("png", "jpg", "bmp", "gif")[i % 4]
            Image.fromarray(pixels).save(target / f"{i}.{suffix}")


def test_image_folder_reads_any_size_and_format(tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    options = json.dumps({"path": f"{tmp_path}/photos", "size": 16, "test_share": 0.25})
    out = ("--out", tmp_path / "out")
    name = "leaves_0a1b2c3d"  # as a study names it
    in_process(prepare, "--dataset", name, "--image-folder", options, *out)
    leaves = load(name, tmp_path / "out")
    assert leaves.train_inputs.shape == (12, 3, 16, 16)
    assert leaves.test_targets.bincount().tolist() == [2, 2]
    # Classes come in the order of their names: green, red.
    brighter = leaves.train_inputs[:, 0].mean((1, 2)) > leaves.train_inputs[:, 1].mean((1, 2))
    assert torch.equal(brighter.long(), leaves.train_targets)
    manifest = json.loads((tmp_path / f"out/{name}.json").read_text())
    assert (manifest["name"], manifest["classes"], manifest["shape"]) == ("leaves", 2, [3, 16, 16])


def test_an_image_is_resized_and_cropped_to_its_centre(tmp_path: Path) -> None:
    pixels = np.zeros((16, 48, 3), np.uint8)
    pixels[:, 16:32] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    square = readers.read_image(tmp_path / "wide.png", ImageFolder(path="", size=16))
    np.testing.assert_array_equal(square, np.full((3, 16, 16), 255))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "L", "LA", "1"])
def test_an_image_of_any_mode_has_the_channels_asked_for(mode: str, tmp_path: Path) -> None:
    colour = (200, 30, 40) if mode in ("RGB", "RGBA", "P", "CMYK") else (255, 255, 255)
    suffix = "tiff" if mode == "CMYK" else "png"
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (20, 30), colour).convert(mode).save(path)
    for channels in (3, 1):
        image = readers.read_image(path, ImageFolder(path="", size=16, channels=channels))
        assert image.shape == (channels, 16, 16)
        if channels == 3:
            np.testing.assert_allclose(image.mean((1, 2)), colour, atol=6)


def test_what_is_transparent_becomes_white(tmp_path: Path) -> None:
    """A black drawing on a transparent ground would be a black square."""
    for mode in ("RGBA", "LA", "P"):
        drawing = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
        drawing.paste((0, 0, 0, 255), (0, 0, 16, 8))
        path = tmp_path / f"{mode}.png"
        drawing.convert(mode).save(path)
        image = readers.read_image(path, ImageFolder(path="", size=16))
        assert image[:, :8].max() == 0, mode
        assert image[:, 8:].min() == 255, mode


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg"])
@pytest.mark.parametrize("content", [b"garbage", b"II", b"II*\0\x08\0\0\0\5\0\x12\1"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_leaves_an_image_as_it_is(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (16, 16), "white").save(path, exif=b"Exif\0\0" + content)
    assert readers.read_image(path, ImageFolder(path="", size=16)).min() == 255


@pytest.mark.parametrize("turn", range(1, 9))
def test_images_are_turned_upright_whatever_else_exif_says(turn: int, tmp_path: Path) -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8, :4] = 255
    picture = Image.fromarray(pixels)
    # Two entries: the orientation, and a resolution that is not a number.
    entries = struct.pack("<HHIHHHHII", 0x0112, 3, 1, turn, 0, 0x011A, 5, 1, 38)
    exif = b"Exif\0\0II*\0\x08\0\0\0\2\0" + entries + bytes(4) + b"\xff" * 4 + bytes(4)
    picture.save(tmp_path / "a.png", exif=exif)
    exif = Image.Exif()
    exif[0x0112] = turn
    picture.save(tmp_path / "b.png", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "b.png")))
    image = readers.read_image(tmp_path / "a.png", ImageFolder(path="", size=16))
    np.testing.assert_array_equal(image, upright.transpose(2, 0, 1))


def test_a_folder_may_hold_what_systems_leave_there(tmp_path: Path) -> None:
    photos(tmp_path, "Train/{name}")
    photos(tmp_path, "Test/{name}")
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
        (tmp_path / f"Train/red/{name}").touch()
    for name in ("__MACOSX", "@eaDir", "lost+found"):
        (tmp_path / f"Train/{name}").mkdir()
    (tmp_path / "Test/loose.txt").touch()
    for part, form in (("Train", "NFC"), ("Test", "NFD")):  # one accent, written in two ways
        red = tmp_path / part / "red"
        red.rename(red.with_name(unicodedata.normalize(form, "caf\u00e9")))
    options = ImageFolder(path=str(tmp_path), size=8)
    arrays = readers.image_folder(options)
    assert np.bincount(arrays.y).tolist() == np.bincount(arrays.y_test).tolist() == [8, 8]
    assert readers.count_of(readers.files_of(options)[0]) == len(arrays.y)


def test_the_first_ten_images_that_cannot_be_read_are_named_and_all_are_counted(
    tmp_path: Path,
) -> None:
    for part in ("train", "test"):
        photos(tmp_path, part + "/{name}")
        for path in (tmp_path / part / "red").iterdir():
            path.write_text("no image")
    with pytest.raises(ValueError, match=r" \(16 images in all\)\Z") as error:
        readers.image_folder(ImageFolder(path=str(tmp_path), size=8))
    named = [line.split(": ")[0] for line in str(error.value).split("; ")]
    bad = [*sorted(tmp_path.glob("train/red/*")), *sorted(tmp_path.glob("test/red/*"))]
    assert named == [str(path) for path in bad[:10]]


def test_a_class_may_be_written_in_two_ways_side_by_side(tmp_path: Path) -> None:
    """What looks like one folder is one class, of the pictures of both."""
    for form in ("NFC", "NFD"):
        photos(tmp_path)
        (tmp_path / "red").rename(tmp_path / unicodedata.normalize(form, "caf\u00e9"))
    (tmp_path / "green").rename(tmp_path / "@green")
    arrays = readers.image_folder(ImageFolder(path=str(tmp_path), size=8, test_share=0.25))
    assert (np.bincount(arrays.y) + np.bincount(arrays.y_test)).tolist() == [8, 16]


def test_standardisation_is_by_channel_of_the_training_set() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 5), np.uint8)
    images[:, 1] //= 7
    tensor = standardised(images, *moments(images))
    torch.testing.assert_close(tensor.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    deviations = tensor.std((0, 2, 3), correction=0)
    torch.testing.assert_close(deviations, torch.ones(3), rtol=1e-5, atol=0)
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    images[:, 2] = 9
    with pytest.raises(ValueError, match="channel 2 is the same throughout"):
        moments(images)


@pytest.mark.parametrize("shape", [(40, 3, 9, 11), (40, 2, 1, 12)])
def test_augmentation_equals_a_loop_over_images(shape: tuple[int, ...]) -> None:
    images = torch.randn(shape)
    count, _, height, width = shape
    crops = draw_crops(count, (height, width), torch.Generator().manual_seed(3))
    augmented = crop_and_flip(images, crops)
    tops, lefts, flips = crops.T
    down = 4 if height > 1 else 0
    for i in range(count):
        padded = torch.zeros(shape[1], height + 2 * down, width + 8)
        padded[:, down : down + height, 4 : 4 + width] = images[i]
        crop = padded[:, tops[i] :, lefts[i] :][:, :height, :width]
        assert torch.equal(augmented[i], crop.flip(2) if flips[i] else crop)
    assert 5 < flips.sum() < 35
    assert len(lefts.unique()) == 9
