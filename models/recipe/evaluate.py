#!/usr/bin/env python3
"""Accuracy on the development episodes, in floats and with the serving engine's int8 rounding.

    python3 models/recipe/evaluate.py --export models/recipe/work/export --episodes ../shared/eval/dev [--n 300]
"""
import argparse
import copy
import glob
import json
import os

import numpy as np
import torch

import export
import quant
import vocab
from spelling import Spelling
from table import Table


def questions(path, n=None):
    """One episode file in table.py's form."""
    group, out = os.path.basename(path).removesuffix(".jsonl"), []
    with open(path, encoding="utf8") as f:
        for line in f:
            e = json.loads(line)
            shown = {}
            for x in e["examples"]:
                shown.setdefault(x["intent"], []).append(x["text"])
            out.append({"text": e["text"], "gold": e["intents"].index(e["intent"]), "group": group, "lang": e["lang"],
                        "candidates": [{"name": i, "examples": shown.get(i, [])} for i in e["intents"]]})
            if len(out) == n:
                break
    return out


def means(accuracy, langs):
    """Means over a language's 5-way files, by shots: {"en": [0-shot, 1-shot, 3-shot], …}."""
    out = {}
    for lang in sorted(set(langs.values())):
        out[lang] = [float(np.mean([a for g, a in accuracy.items() if langs[g] == lang and g.endswith(f".5w{s}s")]))
                     for s in (0, 1, 3)]
    return out


def run(student, head, spelling, tokenizer, scalars, asked, rounding=False):
    """(accuracy by file, means, labels, probabilities)."""
    if rounding:
        student = quant.round_weights(copy.deepcopy(student)).round(True)
    table = Table(asked, student, head, tokenizer, spelling, scalars["discriminant_ridge"])
    langs = dict(zip(table.groups, table.langs))
    logits = table.logits(scalars)[:, :-1]
    p = np.exp(logits - logits.max(1, keepdims=True))
    accuracy = table.by_group(scalars)
    return accuracy, means(accuracy, langs), logits.argmax(1), p / p.sum(1, keepdims=True)


def report(student, head, spelling, tokenizer, scalars, asked):
    """Float and int8 figures side by side, and how far they agree: a dictionary for the log and the model card."""
    accuracy, mean, labels, p = run(student, head, spelling, tokenizer, scalars, asked)
    accuracy8, mean8, labels8, p8 = run(student, head, spelling, tokenizer, scalars, asked, True)
    kl = (p * (np.log(p + 1e-30) - np.log(p8 + 1e-30))).sum(1).mean()
    return {"questions": len(asked), "float": {"means": mean, "files": accuracy},
            "int8": {"means": mean8, "files": accuracy8}, "labels_equal": float((labels == labels8).mean()),
            "mean_kl": float(kl)}


def show(figures):
    lines = []
    for kind in ("float", "int8"):
        for lang, m in figures[kind]["means"].items():
            lines.append(f"{kind:5} {lang} " + " / ".join(f"{x:.1f}" for x in m))
    files = figures["float"]["files"]
    lines += [f"  {g:28} {a:5.1f}  int8 {figures['int8']['files'][g]:5.1f}" for g, a in files.items()]
    lines.append(f"labels equal {100 * figures['labels_equal']:.2f} %, mean KL {figures['mean_kl']:.5f}, "
                 f"{figures['questions']} questions")
    return "\n".join(lines)


def load(folder):
    """(student, head, spelling, tokenizer, scalars) of an export directory."""
    student, head, idf, scalars = export.read(folder)
    tokenizer = vocab.load(folder)
    return student, head, Spelling(idf, tokenizer.normalizer.normalize_str), tokenizer, scalars


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--export", required=True)
    p.add_argument("--episodes", required=True)
    p.add_argument("--n", type=int, help="episodes a file (all)")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--json", help="also write the figures here")
    a = p.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    asked = [q for path in sorted(glob.glob(f"{a.episodes}/*.jsonl")) for q in questions(path, a.n)]
    figures = report(*load(a.export), asked)
    print(show(figures))
    if a.json:
        with open(a.json, "w", encoding="utf8") as f:
            json.dump(figures, f, indent=1)


if __name__ == "__main__":
    main()
