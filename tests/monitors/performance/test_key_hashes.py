import subprocess
import sys

import numpy as np

from monitors.performance.key_hashes import LONGEST, hash_keys

ODD = [
    ("a", 0), ("a", 1), ("a\0", 0), ("\0", 0), ("\0\0", 0), ("", 0), ("", 1), ("ab", 0), ("ba", 0),
    ("\ud800", 0), ("\N{LATIN SMALL LETTER U WITH DIAERESIS}", 2), ("x" * LONGEST, 3),
    ("x" * (LONGEST + 1), 3), ("x" * (LONGEST + 1), 4), ("y" * 1000, 0), ("a", 2**40),
]  # fmt: skip


def test_no_two_keys_share_a_hash():
    many = [(f"r{number}", row) for number in range(50_000) for row in range(4)]
    assert len(np.unique(hash_keys(ODD + many))) == len(ODD) + len(many)


def test_a_hash_does_not_depend_on_what_is_hashed_with_it():
    assert hash_keys([]).dtype == np.uint64
    together = hash_keys(ODD)
    assert [int(hash_keys([key])[0]) for key in ODD] == together.tolist()
    assert hash_keys(ODD[::-1]).tolist() == together[::-1].tolist()


def test_every_bit_is_set_in_half_of_the_hashes():
    hashes = hash_keys([(f"{number:08d}", 0) for number in range(4096)])
    shares = [float(((hashes >> np.uint64(bit)) & np.uint64(1)).mean()) for bit in range(64)]
    assert max(abs(share - 0.5) for share in shares) < 0.05  # six standard deviations


def test_another_process_has_the_same_hashes():
    code = (
        "from monitors.performance.key_hashes import hash_keys;"
        "print(hash_keys([('a', 0), ('y' * 1000, 7)]).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(hash_keys([("a", 0), ("y" * 1000, 7)]).tolist())
