"""Where data come from. Each reader returns arrays as its source has them:

    x, x_test   images (N, C, H, W), bytes or floating point
    y, y_test   labels (N,), from 0

A reader raises ValueError or OSError, with a message of one line that names the file.
"""

import gzip
import os
import tarfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from models.data import ImageFolder

Arrays = dict[str, np.ndarray]

FASHION_MNIST_PACKAGE = Path("/usr/share/datasets/fashion-mnist")  # Debian: dataset-fashion-mnist
FASHION_MNIST_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
FASHION_MNIST_MD5 = {  # as its authors publish them
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # as its authors publish it
SPLIT_SEED = 0  # of the division into training and test set, where the source makes none


def mnist1d() -> Arrays:
    """MNIST-1D (Greydanus and Kobak 2024) from its package's canonical arguments: 4000 training
    and 1000 test signals of length 40, in ten classes."""
    from mnist1d.data import get_dataset_args, make_dataset

    arrays = make_dataset(get_dataset_args())
    signals = {key: arrays[key][:, None, None, :] for key in ("x", "x_test")}
    return {**signals, "y": arrays["y"], "y_test": arrays["y_test"]}


def digits() -> Arrays:
    """scikit-learn's 1797 handwritten digits, 8 x 8 pixels of 0 to 16; a fifth for the test."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return split(images.reshape(-1, 1, 8, 8).astype(np.uint8), labels.astype(np.uint8), 0.2)


def split(images: np.ndarray, labels: np.ndarray, test_share: float) -> Arrays:
    """Training and test set, each with every class in proportion."""
    from sklearn.model_selection import train_test_split

    x, x_test, y, y_test = train_test_split(
        images, labels, test_size=test_share, stratify=labels, random_state=SPLIT_SEED
    )
    return {"x": x, "y": y, "x_test": x_test, "y_test": y_test}


def download(url: str, md5: str) -> Path:
    """A file from the network, kept in the user's cache, or in $DEGRADATION_DATA if that is set.

    Raises:
        OSError: it cannot be had, or its checksum is wrong.
    """
    import pooch

    cache = Path(os.environ.get("DEGRADATION_DATA") or pooch.os_cache("degradation"))
    name = url.rsplit("/", 1)[1]
    try:
        return Path(pooch.retrieve(url, f"md5:{md5}", name, cache))
    except ValueError:  # pooch's word for a wrong checksum
        raise OSError(f"{url}: its MD5 checksum is not {md5}; try again later") from None
    except OSError as error:
        reason = " ".join(str(error).split())
        raise OSError(f"{url}: cannot be downloaded ({reason}); put it into {cache}") from None


def fashion_mnist() -> Arrays:
    """Fashion-MNIST (Xiao, Rasul and Vollgraf 2017): 60 000 and 10 000 images of 28 x 28 grey
    pixels, in ten classes; from Debian's package, or downloaded."""
    if FASHION_MNIST_PACKAGE.exists():
        files = [FASHION_MNIST_PACKAGE / name for name in FASHION_MNIST_MD5]
    else:
        files = [download(f"{FASHION_MNIST_URL}/{name}", md5)
                 for name, md5 in FASHION_MNIST_MD5.items()]  # fmt: skip
    x, y, x_test, y_test = (read_idx(path) for path in files)
    return {"x": x[:, None], "y": y, "x_test": x_test[:, None], "y_test": y_test}


def read_idx(path: Path) -> np.ndarray:
    """Unsigned bytes in LeCun's IDX format, gzipped: two zeros, a type (8: unsigned byte), the
    number of axes, each axis's length as a big-endian 32-bit integer, then the bytes."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: not a whole gzip file: {error}") from None
    if len(content) < 4 or content[:3] != b"\0\0\x08" or not content[3]:
        raise ValueError(f"{path}: begins with {content[:4].hex(' ')}, not with 00 00 08 0n (IDX)")
    axes = content[3]
    if len(content) < 4 + 4 * axes:
        raise ValueError(f"{path}: ends inside its header, which says {axes} axes")
    shape = np.frombuffer(content[4 : 4 + 4 * axes], ">u4")
    pixels = np.frombuffer(content[4 + 4 * axes :], np.uint8)
    if len(pixels) != shape.prod():
        size = " x ".join(map(str, shape))
        raise ValueError(f"{path}: has {len(pixels)} bytes after its header, which says {size}")
    return pixels.reshape(shape)


def cifar10() -> Arrays:
    """CIFAR-10 (Krizhevsky 2009): 50 000 and 10 000 images of 32 x 32 RGB pixels, in ten classes;
    its binary version, which needs no pickle."""
    return read_cifar10(download(CIFAR10_URL, CIFAR10_MD5))


def read_cifar10(archive: Path) -> Arrays:
    """Records of one byte, the label, and 3072, the image's channels, in five files and one."""
    record = 1 + 3 * 32 * 32
    parts = []
    try:
        with tarfile.open(archive) as tar:
            for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
                member = tar.extractfile(f"cifar-10-batches-bin/{name}.bin")
                content = member.read() if member else b""  # a folder has no bytes
                if not content or len(content) % record:
                    raise ValueError(
                        f"{archive}: {name}.bin has {len(content)} bytes, not records of {record}"
                    )
                parts.append(np.frombuffer(content, np.uint8).reshape(-1, record))
                if parts[-1][:, 0].max() > 9:
                    raise ValueError(f"{archive}: {name}.bin has a label above 9")
    except (tarfile.TarError, KeyError, EOFError, zlib.error) as error:
        raise ValueError(f"{archive}: not a whole CIFAR-10 archive: {error}") from None
    train, test = np.concatenate(parts[:5]), parts[5]
    return {
        "x": train[:, 1:].reshape(-1, 3, 32, 32), "y": train[:, 0],
        "x_test": test[:, 1:].reshape(-1, 3, 32, 32), "y_test": test[:, 0],
    }  # fmt: skip


def image_folder(path: Path, options: "ImageFolder") -> Arrays:
    """Images of any size in class folders; classes are numbered in order of their names.

    Either `path` has the folders train and test, each with the class folders, or it has the class
    folders themselves, and a share of each class becomes the test set.
    """
    if not path.is_dir():
        raise ValueError(f"image_folder: {path} is not a folder")
    if options.size < 8:
        raise ValueError(f"image_folder: size: {options.size} is less than 8, two halvings of two")
    if (path / "train").is_dir() and (path / "test").is_dir():
        classes = subfolders(path / "train")
        if extra := [name for name in subfolders(path / "test") if name not in classes]:
            raise ValueError(f"{path / 'test' / extra[0]}: there is no such class in train")
        x, y = read_classes(path / "train", classes, options)
        x_test, y_test = read_classes(path / "test", classes, options)
        return {"x": x, "y": y, "x_test": x_test, "y_test": y_test}
    classes = subfolders(path)
    if not 0 < options.test_share < 1:
        raise ValueError(f"image_folder: test_share: {options.test_share} is not between 0 and 1")
    x, y = read_classes(path, classes, options)
    try:
        return split(x, y, options.test_share)
    except ValueError as error:  # scikit-learn's, of a class or a share that is too small
        raise ValueError(f"{path}: cannot be divided: {error}") from None


def subfolders(path: Path) -> list[str]:
    names = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
    names = [name for name in names if not name.startswith(".")]
    if len(names) < 2:
        raise ValueError(f"{path}: has {len(names)} class folders, two are needed at least")
    return names


def read_classes(
    path: Path, classes: list[str], options: "ImageFolder"
) -> tuple[np.ndarray, np.ndarray]:
    images, labels = [], []
    for label, name in enumerate(classes):
        folder = path / name
        if not folder.is_dir():
            raise ValueError(f"{folder}: is missing, a class of the training set")
        files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
        if not files:
            raise ValueError(f"{folder}: the class has no images")
        images += [read_image(file, options) for file in files]
        labels += [label] * len(files)
    return np.stack(images), np.array(labels, np.uint16)


def read_image(file: Path, options: "ImageFolder") -> np.ndarray:
    """The centre of an image (C, size, size), its shorter side resized to `size`."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not file.is_file():  # to open a pipe would be to wait for ever
        raise ValueError(f"{file}: not an image file")
    try:
        with Image.open(file) as image:
            image.load()
            if image.mode[0] in "IF":
                raise ValueError(f"has {image.mode} pixels, not of 8 bits")
            upright = ImageOps.exif_transpose(image).convert(
                "L" if options.channels == 1 else "RGB"
            )
    except UnidentifiedImageError:
        raise ValueError(f"{file}: not an image") from None
    except Exception as error:  # of any type: damaged bytes lead Pillow anywhere
        raise ValueError(f"{file}: cannot be read: {' '.join(str(error).split())}") from None
    fitted = ImageOps.fit(upright, (options.size, options.size), Image.Resampling.BILINEAR)
    return np.asarray(fitted).reshape(options.size, options.size, -1).transpose(2, 0, 1)


# The name that the paper prints, and the reader.
SOURCES = {
    "mnist1d": ("MNIST-1D", mnist1d),
    "digits": ("the digits of scikit-learn", digits),
    "fashion_mnist": ("Fashion-MNIST", fashion_mnist),
    "cifar10": ("CIFAR-10", cifar10),
}
