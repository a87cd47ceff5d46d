#!/usr/bin/env python3
"""Make the shipped model: one command that does everything and goes on where it stopped.

    python3 models/recipe/make.py --data ../shared/data --work models/recipe/work [--device cuda --batch 512 --half]

Texts, vocabulary, conversion, training by the plan (plan.json in the work folder), then readout scalars on the
validation sets, export and evaluation. Each step leaves a file and is skipped when the file is there. See README.md.
"""
import argparse
import os

import torch

import checkpoint
from bank import Bank
import convert
import fetch
import finish
import glosses
import texts
import train
import vocab
from batches import Source
from teacher import Teacher


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", help="folder with intents/, pairs/, parallel/, corpora/, seed/ (only for the first run)")
    p.add_argument("--work", default="models/recipe/work", help="where everything made is kept")
    p.add_argument("--mirror", help="a second folder that gets checkpoint, vocabulary and log at each save")
    p.add_argument("--device", default="cpu")
    p.add_argument("--half", action="store_true", help="bfloat16 autocast (CUDA)")
    p.add_argument("--bank", action="store_true", help="tokenise and teach all texts first, onto the device (bank.py)")
    p.add_argument("--batch", type=int, default=96, help="sentences a step")
    p.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves the choice to PyTorch")
    p.add_argument("--max-steps", type=int, help="stop, with a checkpoint, after so many steps")
    p.add_argument("--max-minutes", type=float, help="stop, with a checkpoint, after so many minutes")
    p.add_argument("--extend", action="append", default=[], metavar="NAME:KIND:STEPS:RATE[:FLAG…]",
                   help="append a phase to the plan, e.g. d:episodes:1500:2e-4; flags: rounding, from=PHASE, mean=PHASE+…, favour=FILES")
    p.add_argument("--train-only", action="store_true", help="do not export and measure at the plan's end")
    p.add_argument("--finish-only", action="store_true", help="export and measure the latest checkpoint, train nothing")
    return p.parse_args()


def start_weights(work, corpus, tokenizer, teacher, dictionary):
    """The converted, untrained student; kept as start.pt."""
    path = f"{work}/start.pt"
    if not os.path.exists(path):
        state, rows = convert.convert(teacher, corpus["short"]["en"])
        state["wte.weight"] = vocab.first_rows(tokenizer, teacher, dictionary, rows)
        checkpoint.save(path, state)
    return checkpoint.load(path)


def main():
    a = arguments()
    if a.threads:
        torch.set_num_threads(a.threads)
    if a.half:
        torch.set_float32_matmul_precision("high")  # of the losses and the readout, which stay outside of autocast
        torch.backends.cuda.enable_cudnn_sdp(False)  # it plans anew for every shape of a batch (LOG.md, 27 Nov)
    os.makedirs(a.work, exist_ok=True)
    if a.finish_only:
        return finish.finish(a.work, a.data, mirror=a.mirror)
    corpus = texts.load(a.work, a.data)
    tokenizer = vocab.load(a.work, corpus)
    teacher = Teacher(fetch.teacher(a.work), a.device)
    dictionary = glosses.load(a.work, fetch.glosses)
    plan = train.load_plan(a.work, a.extend)
    source = Source(corpus, teacher, dictionary, a.batch)
    if a.bank:
        Bank(tokenizer, source, a.device, a.half, torch.get_num_threads())
    trainer = train.Trainer(a.work, tokenizer, source,
                            lambda: start_weights(a.work, corpus, tokenizer, teacher, dictionary), plan, a.device,
                            a.mirror, a.half, a.max_steps, a.max_minutes)
    if trainer.run() and not a.train_only:
        finish.finish(a.work, a.data, mirror=a.mirror, report=trainer.log)


if __name__ == "__main__":
    main()
