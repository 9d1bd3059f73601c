"""Where data come from. A reader's ValueError or OSError has one line, which names the file."""

import gzip
import hashlib
import os
import tarfile
import unicodedata
import zlib
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from pydantic import Field

from models.files import replacing
from models.typed import Typed

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

FASHION_MNIST_PACKAGE = Path("/usr/share/datasets/fashion-mnist")  # Debian: dataset-fashion-mnist
FASHION_MNIST_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
FASHION_MNIST_MD5 = {  # as the authors publish them
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # as the author publishes it
# Files and folders that are no images and no classes
LEFT_BY_SYSTEMS = (
    "thumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "#recycle", "$recycle.bin",
    "system volume information", "lost+found",
)  # fmt: skip
NAMES_OF_TEST = ("test", "testing", "val", "valid", "validation")
ORIENTATION = 0x0112  # EXIF's number of the tag
# What turns an image upright, by the value of the tag; the names are Pillow's Image.Transpose.
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
SPLIT_SEED = 0  # of the division into training and test set, where the source makes none

# Of the content of data sets whose source publishes no checksum
MNIST1D_SHA256 = "2a8cd1d142372eb2c273431368fa34c5933b1a1ab756d3521ac40f0b033f5e95"
DIGITS_SHA256 = "07fd43da157ebb5cd8d5df3707de1e50a7e95fdf15e0e65baa4e4015a32ef92a"
FASHION_SHA256 = "4f5ba232c00001e84dfb76f6ab806260538430908c895d6242cbea9d090c68a7"


class Arrays(NamedTuple):
    """A data set as its source has it."""

    x: np.ndarray  # images (N, C, H, W), bytes or floating point
    y: np.ndarray  # labels (N,), from 0
    x_test: np.ndarray
    y_test: np.ndarray


Classes = dict[str, list[Path]]  # the files of each class, by its name


class ImageFolder(Typed):
    """Somebody's own images: a folder of class folders, or train/ and test/ with class folders."""

    path: str = Field(description="folder of class folders, or of train/ and test/ with them")
    size: int = Field(ge=8, description="pixels of the shorter side; the longer is cropped to it")
    channels: Literal[1, 3] = Field(3, description="1 for grey, 3 for RGB")
    test_share: float = Field(0.2, gt=0, lt=1, description="share to test on, if there is no test/")


def mnist1d() -> Arrays:
    """Return MNIST-1D (Greydanus and Kobak 2024), made with its package's canonical arguments."""
    from mnist1d.data import get_dataset_args, make_dataset

    made = make_dataset(get_dataset_args())
    x, x_test = (made[key][:, None, None] for key in ("x", "x_test"))
    return Arrays(x, made["y"], x_test, made["y_test"])


def digits() -> Arrays:
    """Return scikit-learn's 1797 handwritten digits, of which a fifth is the test set."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return split(images.reshape(-1, 1, 8, 8).astype(np.uint8), labels.astype(np.uint8), 0.2)


def split(images: np.ndarray, labels: np.ndarray, test_share: float) -> Arrays:
    """Return a training and a test set, each with every class in proportion."""
    from sklearn.model_selection import train_test_split

    x, x_test, y, y_test = train_test_split(
        images, labels, test_size=test_share, stratify=labels, random_state=SPLIT_SEED
    )
    return Arrays(x, y, x_test, y_test)


def download(url: str, md5: str) -> Path:
    """Return a file from the network, kept in $DEGRADATION_DATA or the user's cache."""
    import pooch

    cache = Path(os.environ.get("DEGRADATION_DATA") or pooch.os_cache("degradation"))
    path = cache / url.rsplit("/", 1)[1]
    try:
        if path.exists() and pooch.file_hash(path, "md5") == md5:
            return path
        with replacing(path) as temporary:  # pooch.retrieve would let nobody else read the file
            pooch.HTTPDownloader()(url, temporary, None)
            if pooch.file_hash(temporary, "md5") != md5:
                raise ValueError(f"its MD5 checksum is not {md5}")
    except (OSError, ValueError) as error:  # an unusable proxy can be either
        reason = " ".join(str(error).split())
        raise OSError(f"{url}: cannot be downloaded ({reason}); put it into {cache}") from None
    return path


def fashion_mnist() -> Arrays:
    """Return Fashion-MNIST (Xiao, Rasul and Vollgraf 2017), from Debian's package or downloaded."""
    if FASHION_MNIST_PACKAGE.exists():
        files = [FASHION_MNIST_PACKAGE / name for name in FASHION_MNIST_MD5]
    else:
        known = FASHION_MNIST_MD5.items()
        files = [download(f"{FASHION_MNIST_URL}/{name}", md5) for name, md5 in known]
    x, y, x_test, y_test = map(read_idx, files)
    return Arrays(x[:, None], y, x_test[:, None], y_test)


def read_idx(path: Path) -> np.ndarray:
    """Return the unsigned bytes in a gzipped file of LeCun's IDX format."""
    try:
        content = gzip.decompress(path.read_bytes())
        axes = content[3]  # after two zeros and a type
        shape = np.frombuffer(content[4 : 4 + 4 * axes], ">u4")
        return np.frombuffer(content[4 + 4 * axes :], np.uint8).reshape(shape)
    except (EOFError, IndexError, ValueError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: not a whole gzip file of IDX format: {error}") from None


def read_cifar10(archive: Path | None = None) -> Arrays:
    """Return CIFAR-10 (Krizhevsky 2009) from its binary archive, downloaded if it is not given."""
    archive = archive or download(CIFAR10_URL, CIFAR10_MD5)
    record = 1 + 3 * 32 * 32  # bytes: the label, then the image's channels
    parts = []
    try:
        with tarfile.open(archive) as tar:
            for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
                member = tar.extractfile(f"cifar-10-batches-bin/{name}.bin")
                content = member.read() if member else b""  # a folder has no bytes
                if not content or len(content) % record:
                    size = f"{len(content)} bytes, not records of {record}"
                    raise ValueError(f"{archive}: {name}.bin has {size}")
                parts.append(np.frombuffer(content, np.uint8).reshape(-1, record))
                if parts[-1][:, 0].max() > 9:
                    raise ValueError(f"{archive}: {name}.bin has a label above 9")
    except (tarfile.TarError, KeyError, EOFError, zlib.error) as error:
        raise ValueError(f"{archive}: not a whole CIFAR-10 archive: {error}") from None
    train, test = np.concatenate(parts[:5]), parts[5]
    x, x_test = (records[:, 1:].reshape(-1, 3, 32, 32) for records in (train, test))
    return Arrays(x, train[:, 0], x_test, test[:, 0])


def image_folder(options: ImageFolder) -> Arrays:
    """Return somebody's images; a ValueError names the first ten of those that cannot be read."""
    parts, images, bad = files_of(options), [], []
    for file in (file for classes in parts for files in classes.values() for file in files):
        try:
            images.append(read_image(file, options))
        except ValueError as error:
            bad.append(str(error))
    if bad:
        more = f" ({len(bad)} images in all)" if len(bad) > 1 else ""
        raise ValueError("; ".join(bad[:10]) + more)
    x = np.stack(images)
    y = [label for part in parts for label, files in enumerate(part.values()) for _ in files]
    y = np.array(y, np.uint16)
    if len(parts) == 2:
        n = count_of(parts[0])
        return Arrays(x[:n], y[:n], x[n:], y[n:])
    try:
        return split(x, y, options.test_share)
    except ValueError as error:  # scikit-learn raises it when a class or a share is too small
        raise ValueError(f"{options.path}: cannot be divided: {error}") from None


def files_of(options: ImageFolder) -> list[Classes]:
    """Return the images of the folder, or of its train/ and its test/, behind links too.

    Whoever reads, counts or watches somebody's images asks this function which they are.
    """
    path = Path(options.path)
    if not (options.path and path.is_dir()):  # an empty path would be the folder of the project
        raise ValueError(f"image_folder.path: {options.path!r} is not a folder")
    parts = {entry.name.lower(): entry for entry in path.iterdir() if entry.is_dir()}
    if not {"train", "test"} <= parts.keys():
        for train, test in product(("train", "training"), NAMES_OF_TEST):
            if {train, test} <= parts.keys():
                raise ValueError(f"{path}: has folders {train} and {test}; expected train and test")
        return [classes_in(path)]
    train, test = (classes_in(parts[name]) for name in ("train", "test"))
    if other := sorted(train.keys() ^ test.keys()):
        raise ValueError(f"{path}: the class {other[0]!r} is in one of train and test only")
    return [train, test]


def classes_in(path: Path) -> Classes:
    """Return the images of each class folder in a folder, in the order of their names."""
    classes: Classes = {}
    for folder in sorted(path.iterdir()):
        if folder.is_dir() and is_users(folder):
            files = sorted(filter(is_users, folder.iterdir()))
            if not files:
                raise ValueError(f"{folder}: the class has no images")
            # Systems write an accent in two ways, as part of its letter or after it.
            classes.setdefault(unicodedata.normalize("NFC", folder.name), []).extend(files)
    if len(classes) < 2:
        raise ValueError(f"{path}: has {len(classes)} class folders; at least two are needed")
    return dict(sorted(classes.items()))


def is_users(path: Path) -> bool:
    """Return whether a file or folder is the user's, and not one that systems leave everywhere."""
    return not path.name.startswith(".") and path.name.lower() not in LEFT_BY_SYSTEMS


def count_of(classes: Classes) -> int:
    return sum(map(len, classes.values()))


def state_of(options: ImageFolder) -> str:
    """Return a digest of the names, sizes and times of a folder's images."""
    digest = hashlib.sha256()
    for file in (file for part in files_of(options) for files in part.values() for file in files):
        about = file.stat() if file.exists() else file.lstat()  # of a link to nothing
        digest.update(os.fsencode(file) + f" {about.st_size} {about.st_mtime_ns} ".encode())
    return digest.hexdigest()


def upright(image: "Picture") -> "Picture":
    """Return an image turned as its camera says. Nothing else that EXIF holds is needed."""
    try:
        turn = image.getexif().get(ORIENTATION)
    except Exception:  # damaged bytes can make Pillow raise any type of error
        return image
    return image.transpose(TURNS[turn]) if turn in TURNS else image


def on_white(image: "Picture") -> "Picture":
    """Return an image whose transparent parts are white."""
    from PIL import Image

    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    opaque = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image != opaque and set(opaque.getextrema()) == {(255, 255)}:
        raise ValueError("shows nothing once its transparent parts are white; give it a background")
    return opaque


def read_image(file: Path, options: ImageFolder) -> np.ndarray:
    """Return an image's centre (C, size, size), upright, on white, its shorter side resized."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not file.is_file():  # opening a pipe would wait for ever
        raise ValueError(f"{file}: not an image file")
    try:
        with Image.open(file) as image:
            image.load()
            if image.mode[0] in "IF":
                raise ValueError(f"has {image.mode} pixels, not of 8 bits")
            whole = on_white(upright(image)).convert("L" if options.channels == 1 else "RGB")
    except UnidentifiedImageError:
        raise ValueError(f"{file}: not an image in a known format, such as PNG or JPEG") from None
    except Exception as error:  # damaged bytes can make Pillow raise any type of error
        raise ValueError(f"{file}: cannot be read: {' '.join(str(error).split())}") from None
    fitted = ImageOps.fit(whole, (options.size, options.size), Image.Resampling.BILINEAR)
    return np.asarray(fitted).reshape(options.size, options.size, -1).transpose(2, 0, 1)


class Source(NamedTuple):
    """What is known of a data set before it is read."""

    title: str  # the name that the paper prints
    read: Callable[[], Arrays]
    examples: int  # in the training set
    shape: tuple[int, int, int]  # of an image (C, H, W)
    sha256: str | None  # of the content; None where the downloaded file has a checksum of its own


SOURCES = {
    "mnist1d": Source("MNIST-1D", mnist1d, 4000, (1, 1, 40), MNIST1D_SHA256),
    "digits": Source("the digits of scikit-learn", digits, 1437, (1, 8, 8), DIGITS_SHA256),
    "fashion_mnist": Source("Fashion-MNIST", fashion_mnist, 60_000, (1, 28, 28), FASHION_SHA256),
    "cifar10": Source("CIFAR-10", read_cifar10, 50_000, (3, 32, 32), None),
}
