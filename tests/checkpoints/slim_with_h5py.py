"""Holds a checkpoint of weights alone against the whole one: slim_with_h5py.py WHOLE SLIM fp16|bf16"""
import sys

import h5py
import numpy

whole, slim, precision = h5py.File(sys.argv[1]), h5py.File(sys.argv[2]), sys.argv[3]
names = [name for name in whole if name not in ("metadata", "tokenizer", "optimizer")]
assert set(names) == set(slim) - {"metadata", "tokenizer"}
for name in names:
    weight, kept = whole[name][()], slim[name][()]
    if precision == "fp16":
        assert kept.dtype == "float16"
        expected = weight.astype("float16")
    else:  # the upper half of a float, to the nearest, ties to even; h5py gives it as a float
        bits = weight.view("uint32").astype("uint64")
        expected = ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype("uint32").view("float32")
    assert slim[name].id.get_storage_size() == 2 * weight.size
    assert numpy.array_equal(kept.astype("float32"), expected.astype("float32")), name
