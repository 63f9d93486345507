"""Reads a checkpoint with h5py alone: python3 read_with_h5py.py step-00001000.h5"""
import json
import sys
import zlib

import h5py

# The three lines of docs/checkpoints.md.
checkpoint = h5py.File(sys.argv[1])
weight = checkpoint["block.0.attention.qkv.weight"][:]
step = json.loads(checkpoint["metadata"][()])["progress"]["step"]

assert weight.shape[0] == 3 * weight.shape[1] and weight.dtype == "float32"
json.loads(checkpoint["tokenizer"][()])
tensors = 0


def check(name, dataset):
    global tensors
    if not isinstance(dataset, h5py.Dataset) or name in ("metadata", "tokenizer"):
        return
    assert zlib.crc32(dataset[()].tobytes()) == dataset.attrs["crc32"], name
    tensors += 1


checkpoint.visititems(check)
weights = [name for name in checkpoint if name not in ("metadata", "tokenizer", "optimizer")]
assert tensors == 3 * len(weights), (tensors, len(weights))
assert set(checkpoint["optimizer/first_moment"]) == set(weights) == set(checkpoint["optimizer/second_moment"])
print(json.dumps({"step": step, "tensors": tensors, "format_version": int(checkpoint.attrs["format_version"])}))
