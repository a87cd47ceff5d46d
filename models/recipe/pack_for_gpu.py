#!/usr/bin/env python3
"""Carry training to a machine without network, jieba or the data, and bring the result back in small pieces.

    pack_for_gpu.py pack --work WORK --out PACK       three folders, PACK/1 to PACK/3, each under 64 MiB
    pack_for_gpu.py unpack --work NEW_WORK --out PACK/1   there, once for each folder
    pack_for_gpu.py results --work NEW_WORK --out DIR student and head as float16 in pieces of at most 15 MiB
    pack_for_gpu.py join --work WORK --out DIR        back here: the pieces become WORK/checkpoint.pt

PACK/1: texts with their Chinese translated word by word, vocabulary, plan. PACK/2: the teacher (token rows int8, the
rest float16). PACK/3: student and head of the latest checkpoint (float16). See README.md for the one-line command.
"""
import argparse
import glob
import json
import lzma
import os
import shutil
import sys

import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import checkpoint  # noqa: E402
import fetch  # noqa: E402
import texts  # noqa: E402
from glosses import HAN, Glosses  # noqa: E402

PIECE = 15 * 2 ** 20
ROWS = "embeddings.word_embeddings.weight"


def write_json(path, value):
    with lzma.open(path, "wt", encoding="utf8", preset=6) as f:
        json.dump(value, f, ensure_ascii=False, separators=(",", ":"))


def half(state):
    return {k: v.half() if v.is_floating_point() else v for k, v in state.items()}


def whole(state):
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def student_of(path):
    """A checkpoint without its optimiser, in float16."""
    c = checkpoint.load(path)
    return {**c, "student": half(c["student"]), "head": half(c["head"]), "optimiser": None}


def pack(work, out):
    """Write the three folders; whatever `out` held goes."""
    shutil.rmtree(out, ignore_errors=True)
    for n in "123":
        os.makedirs(f"{out}/{n}", exist_ok=True)
    corpus = texts.load(work)
    dictionary = Glosses(fetch.glosses(work))
    chinese = [t for t in corpus["short"]["zh"] + corpus["long"]["zh"] if HAN.search(t)]
    # the English side of translated pairs and the English texts may hold a Chinese word too
    chinese += [t for t in corpus["short"]["en"] + corpus["long"]["en"]
                + [p[0] for p in corpus["parallel"] + corpus["written"]] if HAN.search(t)]
    write_json(f"{out}/1/corpus.json.xz", corpus)
    write_json(f"{out}/1/translations.json.xz", {"texts": {t: dictionary.translate(t) for t in dict.fromkeys(chinese)},
                                                 "entries": dictionary.entries})
    for name in ("tokenizer.json", "plan.json"):
        shutil.copyfile(f"{work}/{name}", f"{out}/1/{name}")
    folder = fetch.teacher(work)
    w = {k: v for k, v in load_file(f"{folder}/model.safetensors").items() if v.is_floating_point()}
    rows, = (k for k in w if k.endswith(ROWS))
    scale = w[rows].float().abs().amax(1, keepdim=True) / 127
    packed = half({k: v for k, v in w.items() if k != rows})
    save_file({**packed, "int8." + rows: torch.round(w[rows].float() / scale).to(torch.int8), "scale." + rows: scale},
              f"{out}/2/teacher.safetensors")
    shutil.copyfile(f"{folder}/tokenizer.json", f"{out}/2/teacher_tokenizer.json")
    checkpoint.save(f"{out}/3/checkpoint.pt", student_of(f"{work}/checkpoint.pt"))
    for n in "123":
        size = sum(os.path.getsize(p) for p in glob.glob(f"{out}/{n}/*")) / 2 ** 20
        print(f"{out}/{n}: {size:.1f} MiB")
        if size > 62:
            raise SystemExit("too large to carry")


def unpack(out, folder):
    """Read one packed folder into the work folder `out`."""
    os.makedirs(f"{out}/teacher", exist_ok=True)
    for path in glob.glob(f"{folder}/*"):
        name = os.path.basename(path)
        if name.endswith(".xz"):
            with lzma.open(path) as src, open(f"{out}/{name[:-3]}", "wb") as dst:
                shutil.copyfileobj(src, dst)
        elif name == "teacher.safetensors":
            w = load_file(path)
            rows, = (k[5:] for k in w if k.startswith("int8."))
            full = whole({k: v for k, v in w.items() if not k.startswith(("int8.", "scale."))})
            full[rows] = w["int8." + rows].float() * w["scale." + rows]
            save_file(full, f"{out}/teacher/model.safetensors")
        elif name == "teacher_tokenizer.json":
            shutil.copyfile(path, f"{out}/teacher/tokenizer.json")
        elif name == "checkpoint.pt":
            c = checkpoint.load(path)
            checkpoint.save(f"{out}/checkpoint.pt", {**c, "student": whole(c["student"]), "head": whole(c["head"])})
        else:
            shutil.copyfile(path, f"{out}/{name}")


def results(work, out):
    os.makedirs(out, exist_ok=True)
    whole_path = f"{work}/result.pt"
    checkpoint.save(whole_path, student_of(f"{work}/checkpoint.pt"))
    with open(whole_path, "rb") as f:
        for n, piece in enumerate(iter(lambda: f.read(PIECE), b"")):
            with open(f"{out}/result.{n:02d}", "wb") as g:
                g.write(piece)
    for name in ("train.log", "plan.json"):
        if os.path.exists(f"{work}/{name}"):
            shutil.copyfile(f"{work}/{name}", f"{out}/{name}")


def join(work, out):
    with open(f"{work}/result.pt", "wb") as f:
        for path in sorted(glob.glob(f"{out}/result.[0-9][0-9]")):
            with open(path, "rb") as g:
                f.write(g.read())
    c = checkpoint.load(f"{work}/result.pt")
    checkpoint.save(f"{work}/checkpoint.pt", {**c, "student": whole(c["student"]), "head": whole(c["head"])})
    shutil.copyfile(f"{out}/plan.json", f"{work}/plan.json")
    print(f"phase {c['phase']} step {c['step']}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=("pack", "unpack", "results", "join"))
    p.add_argument("--work", required=True, help="the work folder on this machine")
    p.add_argument("--out", required=True, help="the packed folder or the folder of pieces")
    a = p.parse_args()
    {"pack": pack, "unpack": unpack, "results": results, "join": join}[a.what](a.work, a.out)


if __name__ == "__main__":
    main()
