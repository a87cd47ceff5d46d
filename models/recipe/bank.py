"""Everything that the losses ask for, tokenised once and taught once: for a device on which Python is the slow part.

A bank holds its texts' segments and the teacher's vectors as two matrices on the device, so that a batch is two gathers.
Texts that it lacks (passages) take the ordinary way. It costs some 900 bytes a text there.
"""
import functools
import multiprocessing
import os
import random

import numpy as np
import torch

import batches
from episodes import SPELLINGS

PHRASES = 800_000
MISSPELT = 500_000  # texts that also stand there as somebody mistypes them
TOKENISED, TAUGHT = 100_000, 2048  # texts at a time


def every(texts):
    """Every text of a list whose items are texts or lists of fillings (written.py)."""
    return [t for item in texts for t in ([item] if isinstance(item, str) else item)]


def collect(source, seed=1):
    """(texts with a teacher's vector, the others); sets source.phrases."""
    rng = random.Random(seed)
    source.phrases = sorted({source.phrase(rng, rng.choice(source.short["en"])) for _ in range(min(PHRASES, len(source.short["en"])))})
    english = [p[0] for p in source.parallel + source.written] + [e for e, _ in source.glosses.entries]
    english += [label for name in source.own["en"] for label in source.sets[name]["labels"]]
    taught = dict.fromkeys(source.short["en"] + source.short["zh"] + english + source.phrases)
    others = [p[1] for p in source.parallel + source.written] + [w for _, w in source.glosses.entries]
    others += [t for p in source.pairs for t in p]
    for s in source.sets.values():
        names = [n for label in s["labels"] for n in [label] + s["names"].get(label, [])]
        others += [spell(n) for n in names for spell in SPELLINGS]
        others += [d for told in s["descriptions"].values() for d in told]
        others += [t for label in s["labels"].values() for t in every(label)]
    typed = sorted(dict.fromkeys(source.short["en"] + source.short["zh"] + [p[k] for p in source.written for k in (0, 1)]))
    source.misspelt = {t: source.typos(rng, t) for t in rng.sample(typed, min(MISSPELT, len(typed)))}
    others += source.misspelt.values()
    return list(taught), [t for t in dict.fromkeys(others) if t not in taught]


def tokenised(tokenise, texts, workers):
    """(ids (N, T) int16, lengths (N)) of many texts by `tokenise`, in worker processes, which find both in their memory."""
    parts = [texts[at: at + TOKENISED] for at in range(0, len(texts), TOKENISED)]
    Job.tokenise, Job.parts = tokenise, parts
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        made = pool.map(Job.run, range(len(parts)), chunksize=1)
    ids = np.zeros((len(texts), max(i.shape[1] for i, _ in made)), np.int16)
    at = 0
    for i, _ in made:
        ids[at: at + len(i), : i.shape[1]] = i
        at += len(i)
    return ids, np.concatenate([n for _, n in made])


class Job:
    """What a worker of `tokenised` does."""

    tokenise, parts = None, None

    @staticmethod
    def run(number):
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        ids, lengths = Job.tokenise(Job.parts[number])
        return ids.astype(np.int16), lengths


class Bank:
    def __init__(self, tokenizer, source, device="cpu", half=False, workers=1):
        """Fills itself from a Source and becomes its bank."""
        taught, others = collect(source)
        texts, self.device = taught + others, device
        self.row = {t: i for i, t in enumerate(texts)}
        ids, self.lengths = tokenised(functools.partial(batches.segments, tokenizer), texts, workers)
        self.ids, self.lengths_there = torch.from_numpy(ids).to(device), torch.from_numpy(self.lengths).to(device)
        whole = set(source.phrases)  # a phrase is taught as it is, also where it holds a Chinese word
        english = [t if t in whole else source.glosses.translate(t) for t in taught]
        self.taught = self.teach(source.teacher, *tokenised(source.teacher.rows, english, workers), half)
        source.bank = self

    def teach(self, teacher, ids, lengths, half):
        """The teacher's vectors of all these texts, in float16: (N, 384)."""
        out, order = None, np.argsort(lengths, kind="stable")
        for some in np.split(order, range(TAUGHT, len(order), TAUGHT)):
            at = torch.from_numpy(ids[some, : lengths[some].max()]).to(self.device)
            with torch.autocast(torch.device(self.device).type, torch.float16, enabled=half):
                y = teacher.vectors(at.long(), torch.from_numpy(lengths[some]).to(self.device))
            if out is None:
                out = torch.empty(len(ids), y.shape[1], dtype=torch.float16, device=self.device)
            out[torch.from_numpy(some).to(self.device)] = y.half()
        return out

    def rows(self, texts):
        """Row numbers of texts, or None where one is not there."""
        try:
            return np.fromiter((self.row[t] for t in texts), np.int64, len(texts))
        except KeyError:
            return None

    def segments(self, rows):
        """ids (B, T) and lengths (B) of rows, as batches.encode gives them."""
        at = batches.onto(rows, self.device)
        return self.ids[at, : int(self.lengths[rows].max())].long(), self.lengths_there[at]

    def targets(self, texts):
        """The teacher's vectors (B, 384), or None where one of the texts has none."""
        rows = self.rows(texts)
        if rows is None or rows.max() >= len(self.taught):
            return None
        return self.taught[batches.onto(rows, self.device)].float()
