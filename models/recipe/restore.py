#!/usr/bin/env python3
"""Make a work folder's checkpoint from a packed model file, so that training can go on where the folder is lost.

    restore.py --work WORK [--data DATA] models/small-1.fsi

Matrices come back as int8 times scale (what the file holds), the rest as it was, but the head's scale, bias and `other`, which begin anew. The plan's present phases count as
done: name the next one with `make.py --extend`. Vocabulary and spelling weights are the file's, the former checked against the test vectors beside it. The layouts
read here are fsifile_layout.h's and tokblob.h's. With --end NAME the weights become the end of that phase and nothing else is
touched: for means with editions of before (`git show COMMIT:models/small-1.fsi`).
"""
import argparse
import json
import os
import struct

import numpy as np
import torch

import batches
import checkpoint
import readout
import texts
import train
import vocab
from student import SHAPE, Student

CONFIG, SECTIONS = 80, 256  # offsets in the file
TOKENIZER, BPE = 2, 2  # section number; kind of tokenizer
IDF = 3
WTE, WPE, LNF, Q, K = 16, 20, (24, 28), 36, 40  # section numbers; a matrix has panels, scales after them
NORMS = {"ln_1": (64, 68), "ln_2": (88, 92)}
MATRICES = {"c_attn": (72, 76), "c_proj": (80, 84), "c_fc": (96, 100), "m_proj": (104, 108)}


def sections(data):
    """{(id, layer): bytes} of a packed file."""
    if data[:8] != b"FSIMODEL" or struct.unpack_from("<II", data, 8) != (1, 0x01020304):
        raise SystemExit("not a packed model file of version 1")
    count, = struct.unpack_from("<I", data, 72)
    out = {}
    for i in range(count):
        number, layer, offset, size = struct.unpack_from("<IiQQ", data, SECTIONS + 24 * i)
        out[number, layer] = data[offset: offset + size]
    return out


def matrix(found, number, layer, k, n):
    """(n, k) floats: panels are [n / 16][k / 4][16][4] int8."""
    panels = np.frombuffer(found[number, layer], np.int8).reshape(-(-n // 16), -(-k // 4), 16, 4)
    w = panels.transpose(0, 2, 1, 3).reshape(panels.shape[0] * 16, -1)[:n, :k].astype(np.float32)
    scale = np.frombuffer(found[number + 1, layer], np.float32)[:n]
    return torch.from_numpy(w * scale[:, None])


def floats(found, number, layer, *shape):
    return torch.from_numpy(np.frombuffer(found[number, layer], np.float32).copy()).view(*shape)


def tokenizer_of(blob):
    """The tokenizer of a byte-level BPE's blob."""
    if blob[:8] != b"FSITOKN\0" or struct.unpack_from("<II", blob, 8) != (1, BPE):
        raise SystemExit("the file's tokenizer is no byte-level BPE")
    n, slots = (struct.unpack_from("<I", blob, at)[0] for at in (28, 108))
    strings, pool, _, _, _, merges = struct.unpack_from("<6Q", blob, 120)
    ends = struct.unpack_from(f"<{n + 1}I", blob, strings)
    rows = np.frombuffer(blob, np.uint32, 4 * slots, merges).reshape(slots, 4)  # left (all ones: an empty slot), right, rank, id
    rows = rows[rows[:, 0] != 2 ** 32 - 1]
    return vocab.of([blob[pool + a: pool + b].decode() for a, b in zip(ends, ends[1:])], rows[rows[:, 2].argsort(), :2].tolist())


def read(path):
    """(student, head, tokenizer, spelling weights) of a packed file, the first two as state dictionaries."""
    with open(path, "rb") as f:
        data = f.read()
    found = sections(data)
    layers, heads, width, inner, positions, vocabulary = struct.unpack_from("<6i", data, CONFIG)
    if (layers, heads, width, inner, positions) != tuple(SHAPE[k] for k in ("layers", "heads", "width", "inner",
                                                                             "positions")):
        raise SystemExit(f"{path} has another shape than this recipe's student")
    student, head = Student(vocabulary, **SHAPE).state_dict(), readout.Head(width).state_dict()
    student["wte.weight"] = matrix(found, WTE, -1, width, vocabulary)
    student["wpe.weight"] = floats(found, WPE, -1, positions, width)
    student["ln_f.weight"], student["ln_f.bias"] = (floats(found, n, -1, width) for n in LNF)
    head["q"], head["k"] = floats(found, Q, -1, width, width), floats(found, K, -1, width, width)
    for i in range(layers):
        for name, parts in NORMS.items():
            for part, number in zip(("weight", "bias"), parts):
                student[f"blocks.{i}.{name}.{part}"] = floats(found, number, i, width)
        for name, (number, bias) in MATRICES.items():
            n, k = student[f"blocks.{i}.{name}.weight"].shape
            student[f"blocks.{i}.{name}.weight"] = matrix(found, number, i, k, n)
            student[f"blocks.{i}.{name}.bias"] = floats(found, bias, i, n)
    return student, head, tokenizer_of(found[TOKENIZER, -1]), floats(found, IDF, -1, -1)


def same_vocabulary(tokenizer, path):
    """Whether the tokenizer gives the ids of the vectors beside a packed file."""
    with open(path.removesuffix(".fsi") + ".vectors.json", encoding="utf8") as f:
        rows = json.load(f)["texts"]
    return all(batches.encode(tokenizer, [r["text"]], batches.LONG_TOKENS)[0][0].tolist() == r["ids"] for r in rows)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("file")
    p.add_argument("--work", default="models/recipe/work")
    p.add_argument("--data", help="needed when the work folder has no corpus.json yet")
    p.add_argument("--end", metavar="NAME", help="only write the weights, as the end of a phase of that name")
    a = p.parse_args()
    target = f"{a.work}/checkpoint.pt"
    os.makedirs(a.work, exist_ok=True)
    student, head, tokenizer, idf = read(a.file)
    if a.end:
        if vocab.load(a.work).to_str() != tokenizer.to_str():
            raise SystemExit(f"the vocabulary of {a.work} is not that of {a.file}")
        return checkpoint.save(checkpoint.end_path(a.work, a.end), {"student": student, "head": head})
    if os.path.exists(target):
        raise SystemExit(f"{target} exists: training goes on from there")
    vocab.save(tokenizer, f"{a.work}/tokenizer.json")
    checkpoint.save(f"{a.work}/idf.pt", idf)
    if not same_vocabulary(vocab.load(a.work), a.file):
        raise SystemExit(f"the vocabulary of {a.file} gives other ids than the test vectors beside it")
    texts.load(a.work, a.data)
    plan = train.load_plan(a.work)
    checkpoint.save(f"{a.work}/end-{plan[-1]['name']}.pt", {"student": student, "head": head})
    checkpoint.save(target, {"phase": len(plan), "step": 0, "student": student, "head": head, "optimiser": None})
    print(f"{target}: {a.file} as the end of phase {plan[-1]['name']}")


if __name__ == "__main__":
    main()
