"""Put the measurements of all networks together: one table for each file name.

    python -m analysis.join --parts results/<study>/measures/<variant> ... --out tables

A measure may have nothing to say of a network (its file is then empty), but what it says has the
same columns for all.
"""

import argparse
from pathlib import Path

from models.files import replacing


def join(parts: list[Path]) -> str:
    """The rows of some CSV files under the header that they share.

    Raises:
        ValueError: their headers differ.
    """
    whole = [part.read_text() for part in parts]
    tables = [text.splitlines(keepends=True) for text in whole if text]
    headers = {table[0] for table in tables}
    if len(headers) > 1:
        raise ValueError(f"{parts[0].name}: columns differ between networks: {sorted(headers)}")
    return "".join([*headers, *[line for table in tables for line in table[1:]]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    for name in sorted(path.name for path in arguments.parts[0].glob("*.csv")):
        with replacing(arguments.out / name) as path:
            path.write_text(join([folder / name for folder in arguments.parts]))


if __name__ == "__main__":
    main()
