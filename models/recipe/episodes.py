"""Training episodes: few-shot questions made from the intent sets, as a user would put them.

2 to 16 intents, 0 to 3 examples of each; names hidden in a part of those with examples; other spellings of labels, and
descriptions where the set has them; in a tenth the right intent is missing and the answer is `other`. Some episodes
are made of paraphrase pairs, some of translated pairs (a Chinese message, English candidates, or the reverse).
"""
import torch
import torch.nn.functional as F

import batches
from readout import DESCRIPTION, EXAMPLE, NAME

QUERIES = 6


def spell(rng, label, others):
    """One way a user may write a label."""
    r = rng.random()
    if others and r < 0.5:
        label = rng.choice(others)
    if label.isascii() and " " in label:
        r = rng.random()
        if r < 0.12:
            return label.replace(" ", "_")
        if r < 0.18:
            return label.replace(" ", "-")
    return label


def from_pairs(rng, pairs, kind):
    n = rng.randint(5, 20)
    chosen = rng.sample(pairs, n)
    flip = rng.random() < 0.5
    ask, show = (1, 0) if flip else (0, 1)
    segments = [(p[show], i, kind) for i, p in enumerate(chosen)]
    return segments, [(chosen[i][ask], i) for i in rng.sample(range(n), min(QUERIES, n))], n


def from_set(rng, s):
    labels = rng.sample(list(s["labels"]), rng.randint(2, min(16, len(s["labels"]))))
    shots = rng.choice((0, 0, 0, 1, 1, 2, 3))
    hidden = shots > 0 and rng.random() < 0.25
    missing = len(labels) > 2 and rng.random() < 0.1
    described = rng.random() < 0.3
    segments, queries = [], []
    for i, label in enumerate(labels):
        texts = batches.draw(rng, s["labels"][label], shots + 1)
        queries.append((texts[0], i))
        if missing and i == 0:
            continue
        if not hidden or len(texts) < 2:
            segments.append((spell(rng, label, s["names"].get(label)), i, NAME))
            if described and s["descriptions"].get(label):
                segments.append((rng.choice(s["descriptions"][label]), i, DESCRIPTION))
        segments += [(t, i, EXAMPLE) for t in texts[1:]]
    return segments, rng.sample(queries, min(QUERIES, len(queries))), len(labels)


def draw(rng, source):
    r = rng.random()
    if r < 0.12:
        return from_pairs(rng, source.pairs, EXAMPLE)
    if r < 0.20:
        return from_pairs(rng, source.parallel, NAME)
    return from_set(rng, source.intent_set(rng, source.chinese))


def loss(embed, head, source, rng, n=4):
    """Mean cross-entropy of n episodes and the share answered right."""
    drawn = [draw(rng, source) for _ in range(n)]
    z = embed([t for segments, _, _ in drawn for t, _, _ in segments]
              + [t for _, queries, _ in drawn for t, _ in queries])
    at, asked = 0, sum(len(segments) for segments, _, _ in drawn)
    total, right, count = 0, 0, 0
    for segments, queries, ways in drawn:
        zs, zm = z[at: at + len(segments)], z[asked: asked + len(queries)]
        at, asked = at + len(segments), asked + len(queries)
        owner = torch.tensor([i for _, i, _ in segments], device=z.device)
        kind = torch.tensor([k for _, _, k in segments], device=z.device)
        present = {i for _, i, _ in segments}
        gold = torch.tensor([i if i in present else ways for _, i in queries], device=z.device)
        logits = head.logits(zm, zs, owner, kind, ways)
        total = total + F.cross_entropy(logits, gold)
        right += int((logits.argmax(-1) == gold).sum())
        count += len(queries)
    return total / n, right / count
