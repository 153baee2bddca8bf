#!/usr/bin/env python3
"""Makes Sources/Data/Resources/digits.bin from the digits that scikit-learn carries.

    python3 -m pip install scikit-learn
    python3 scripts/make-digits.py Sources/Data/Resources/digits.bin

The file is a zlib stream of 1,797 label bytes (0...9) and then 1,797 pictures of 8 x 8 bytes
(0...16), row by row, in the order of the source. Sources/Data/Resources/README.md states the
source and its licence.
"""

import sys
import zlib

from sklearn.datasets import load_digits

COUNT, PIXELS, LARGEST = 1797, 64, 16


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    digits = load_digits()
    assert digits.data.shape == (COUNT, PIXELS), digits.data.shape
    assert digits.data.min() == 0 and digits.data.max() == LARGEST
    assert (digits.data == digits.data.astype("uint8")).all()
    assert sorted(set(digits.target.tolist())) == list(range(10))
    plain = digits.target.astype("uint8").tobytes() + digits.data.astype("uint8").tobytes()
    with open(sys.argv[1], "wb") as file:
        file.write(zlib.compress(plain, 9))


if __name__ == "__main__":
    main()
