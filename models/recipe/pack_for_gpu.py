#!/usr/bin/env python3
"""Carry training to a machine without network, jieba or the data, and bring the results back in small pieces.

    pack_for_gpu.py pack --work WORK --out PACK --data DATA    two folders, PACK/1 and PACK/2
    pack_for_gpu.py unpack --work NEW_WORK --out PACK/1    there, once for each folder
    pack_for_gpu.py results --work NEW_WORK --out DIR      matrices int8 as the engine has them, pieces of at most 15 MiB
    pack_for_gpu.py join --work WORK --out DIR             back here: the pieces become WORK/checkpoint.pt

PACK/1: the teacher (int8 rows), vocabulary, plan. PACK/2: the texts, Chinese ones cut into words, and what the words mean.
The student goes on from the shipped file, which travels with the repository (restore.py), and `grow.py` widens it. See
gpu.sh for the commands there.
"""
import argparse
import glob
import json
import lzma
import os
import shutil

import torch
from safetensors.torch import load_file, save_file

import checkpoint
import fetch
import quant
import restore
import texts
import vocab
from glosses import HAN, PARTED, Glosses, words

PIECE = 15 * 2 ** 20
MOST = {"1": 32, "2": 56}  # MiB; the repository travels too, for PACK/2 with an empty file in place of the shipped model
SHIPPED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "small-1.fsi")


def write_json(path, value):
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 2 ** 28}]  # a text stands in several lists
    with lzma.open(path, "wt", encoding="utf8", filters=filters) as f:
        json.dump(value, f, ensure_ascii=False, separators=(",", ":"))


def small(state):
    """Matrices and token rows as int8 rows and scales (quant.py), positions and readout as float16."""
    out = {}
    for name, w in state.items():
        if w.dim() == 2 and name.endswith(".weight") and "wpe" not in name and "position" not in name:
            values, out["scale." + name] = quant.rows(w.float())
            out["int8." + name] = values.to(torch.int8)
        else:
            out[name] = w.half() if w.dim() == 2 else w
    return {k: v.cpu().contiguous() for k, v in out.items()}


def whole(state):
    """The floats of what `small` made."""
    out = {k: v.float() for k, v in state.items() if not k.startswith(("int8.", "scale."))}
    out.update({k[5:]: v.float() * state["scale." + k[5:]] for k, v in state.items() if k.startswith("int8.")})
    return out


def pack(work, out, data):
    """Write the two folders anew; the many texts are gathered once, into PACK/corpus.json."""
    for n in MOST:
        shutil.rmtree(f"{out}/{n}", ignore_errors=True)
        os.makedirs(f"{out}/{n}", exist_ok=True)
    shutil.copyfile(f"{work}/plan.json", f"{out}/1/plan.json")
    folder = fetch.teacher(work)
    w = {k: v for k, v in load_file(f"{folder}/model.safetensors").items() if v.is_floating_point()}
    save_file(small(w), f"{out}/1/teacher.safetensors")
    shutil.copyfile(f"{folder}/tokenizer.json", f"{out}/1/teacher_tokenizer.json")
    corpus = texts.load(out, data, texts.MANY)
    dictionary = Glosses(fetch.glosses(work))
    has_han = lambda some: [t for t in some if HAN.search(t)]
    short, long = corpus["short"], corpus["long"]
    # the English side of translated pairs and the English texts may hold a Chinese word too
    mixed = has_han(short["en"] + long["en"] + [p[0] for p in corpus["parallel"] + corpus["written"]])
    cut = {k: [PARTED.join(words(t)) for t in some]
           for k, some in (("short", short.pop("zh")), ("long", long.pop("zh")), ("mixed", mixed))}
    known = {w for some in cut.values() for t in some for w in t.split(PARTED)}
    meant = {w: dictionary.sense(w) for w in sorted(known) if HAN.search(w)}
    write_json(f"{out}/2/translations.json.xz", {"texts": cut, "words": meant, "entries": dictionary.entries,
                                                "sounds": dictionary.sounds})
    write_json(f"{out}/2/corpus.json.xz", {**corpus, "valid": {}})
    for n, most in MOST.items():
        size = sum(os.path.getsize(p) for p in glob.glob(f"{out}/{n}/*")) / 2 ** 20
        print(f"{out}/{n}: {size:.1f} MiB")
        if size > most:
            raise SystemExit(f"too large to carry: more than {most} MiB")


def unpack(out, folder):
    """Read one packed folder into the work folder `out`."""
    packed = glob.glob(f"{folder}/*")
    if not packed:
        raise SystemExit(f"nothing is packed in {folder}")
    os.makedirs(f"{out}/teacher", exist_ok=True)
    for path in packed:
        name = os.path.basename(path)
        if name.endswith(".xz"):
            with lzma.open(path) as src, open(f"{out}/{name[:-3]}", "wb") as dst:
                shutil.copyfileobj(src, dst)
        elif name == "teacher.safetensors":
            save_file(whole(load_file(path)), f"{out}/teacher/model.safetensors")
        elif name == "teacher_tokenizer.json":
            shutil.copyfile(path, f"{out}/teacher/tokenizer.json")
        else:
            shutil.copyfile(path, f"{out}/{name}")
    if os.path.exists(f"{out}/plan.json") and not os.path.exists(f"{out}/checkpoint.pt"):
        student, head, tokenizer, _ = restore.read(SHIPPED)
        vocab.save(tokenizer, f"{out}/tokenizer.json")
        with open(f"{out}/plan.json", encoding="utf8") as f:
            plan = json.load(f)
        checkpoint.save(f"{out}/end-{plan[-1]['name']}.pt", {"student": student, "head": head})
        checkpoint.save(f"{out}/checkpoint.pt", {"phase": len(plan), "step": 0, "student": student, "head": head,
                                                 "optimiser": None})


def results(work, out):
    """The latest checkpoint's weights in pieces, the log and the plan with the steps that its phases took."""
    os.makedirs(out, exist_ok=True)
    c = checkpoint.load(f"{work}/checkpoint.pt")
    whole_path = f"{work}/result.pt"
    checkpoint.save(whole_path, {"phase": c["phase"], "step": c["step"], "minutes": c.get("minutes", 0.0), "student": small(c["student"]), "head": small(c["head"])})
    with open(whole_path, "rb") as f:
        for n, piece in enumerate(iter(lambda: f.read(PIECE), b"")):
            with open(f"{out}/result.{n:02d}", "wb") as g:
                g.write(piece)
    for name in ("train.log", "plan.json"):
        if os.path.exists(f"{work}/{name}"):
            shutil.copyfile(f"{work}/{name}", f"{out}/{name}")


def join(work, out):
    """The pieces of `out` as the work folder's checkpoint, and as the end of its plan's last phase where that is done."""
    with open(f"{work}/result.pt", "wb") as f:
        for path in sorted(glob.glob(f"{out}/result.[0-9][0-9]")):
            with open(path, "rb") as g:
                f.write(g.read())
    c = checkpoint.load(f"{work}/result.pt")
    weights = {"student": whole(c["student"]), "head": whole(c["head"])}
    checkpoint.save(f"{work}/checkpoint.pt", {"phase": c["phase"], "step": c["step"], "minutes": c.get("minutes", 0.0), "optimiser": None, **weights})
    shutil.copyfile(f"{out}/plan.json", f"{work}/plan.json")
    with open(f"{work}/plan.json", encoding="utf8") as f:
        plan = json.load(f)
    if c["phase"] == len(plan):
        checkpoint.save(f"{work}/end-{plan[-1]['name']}.pt", weights)
    print(f"phase {c['phase']} of {len(plan)}, step {c['step']}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=("pack", "unpack", "results", "join"))
    p.add_argument("--work", required=True, help="the work folder on this machine")
    p.add_argument("--out", required=True, help="the packed folder or the folder of pieces")
    p.add_argument("--data", help="to pack: folder with intents/, pairs/, parallel/, corpora/, seed/")
    a = p.parse_args()
    if a.what == "pack":
        return pack(a.work, a.out, a.data)
    {"unpack": unpack, "results": results, "join": join}[a.what](a.work, a.out)


if __name__ == "__main__":
    main()
