#!/usr/bin/env python3
"""Which weights are better on the validation sets: ends of phases, and means of several.

    python3 models/recipe/compare.py --work models/recipe/work r u r+u

A name is a phase's, whose end is in the work folder; r+u is the mean of two, r+r+u one in which r counts twice. Each gets its
own shape of the readout by the rule of choose.py. Prints accuracy in % (plain and hidden names, which decides; mixed; the best
cell of the grid; the best without spelling), and with --int8 the same through the serving engine's rounding. With --misspelt also
the accuracy where every message is mistyped (typos.py, as in training but by another seed), with --forms by kind of question and
number of examples.
"""
import argparse
import copy
import random

import torch

import checkpoint
import choose
import fetch
import finish
import glosses
import quant
import readout
import spelling
import texts
from student import Student
from table import Table
from typos import Typos


def weights(work, names):
    """(student, head): the mean of the ends of phases."""
    w = checkpoint.mean([checkpoint.load(checkpoint.end_path(work, n)) for n in names.split("+")])
    return Student.of(w["student"]).eval(), readout.Head.of(w["head"])


def mistyped(asked, typos):
    """The questions, every message with a mistake."""
    return [{**q, "text": typos(random.Random(f"compare/{i}"), q["text"])} for i, q in enumerate(asked)]


@torch.no_grad()
def measure(student, head, tokenizer, spell, asked, spoilt=None, forms=False):
    """The chosen shape and its figures; those on spoilt questions by the shape of the whole ones, those by form as well."""
    table = Table(asked, student, head, tokenizer, spell)
    picked, grid = choose.shape(table)
    c = {**readout.DEFAULTS, **picked}
    best = lambda some: 100 * max(g[0] for g in some)
    by_spoilt = {} if spoilt is None else {
        "misspelt": 100 * choose.balanced(Table(spoilt, student, head, tokenizer, spell), c, ("plain", "hidden"))}
    return picked, {"validation": 100 * choose.balanced(table, c, ("plain", "hidden")), **by_spoilt,
                    "mixed": 100 * choose.balanced(table, c, ("mixed",)), "best cell": best(grid),
                    "without spelling": best(g for g in grid if g[1] == 0),
                    "without discriminant": best(g for g in grid if g[4] == 0),
                    **({f"{kind} {shots}": 100 * choose.balanced(table, c, (kind,), shots) for kind, shots in choose.FORMS} if forms else {})}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", required=True)
    p.add_argument("--int8", action="store_true", help="through the serving engine's int8 rounding too")
    p.add_argument("--misspelt", action="store_true", help="where every message is mistyped, too")
    p.add_argument("--forms", action="store_true", help="by kind of question and number of examples, too")
    p.add_argument("--threads", type=int)
    p.add_argument("phases", nargs="+", metavar="PHASE[+PHASE…]")
    a = p.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    _, _, tokenizer, idf, _ = finish.load(a.work)
    spell = spelling.Spelling(idf, tokenizer.normalizer.normalize_str)
    corpus = texts.load(a.work)
    asked, spoilt = choose.questions(corpus["valid"]), None
    if a.misspelt:
        spoilt = mistyped(asked, Typos(glosses.load(a.work, fetch.glosses).sounds, corpus["short"]["zh"]))
    for names in a.phases:
        student, head = weights(a.work, names)
        for rounding in (False, True)[: 1 + a.int8]:
            if rounding:
                student = quant.round_weights(copy.deepcopy(student)).round(True)
            picked, figures = measure(student, head, tokenizer, spell, asked, spoilt, a.forms)
            print(f"{names}{' int8' if rounding else ''}: " + ", ".join(f"{k} {v:.2f}" for k, v in figures.items())
                  + f"; {picked}", flush=True)


if __name__ == "__main__":
    main()
