"""Training episodes: few-shot questions made from the intent sets, as a user would put them.

2 to 16 intents, 0 to 3 examples of each (`shown` phases: up to 5); names hidden in a part of those with examples; other spellings of labels, and
descriptions where the set has them; in a tenth the right intent is missing and the answer is `other`. Some episodes
are made of paraphrase pairs, some of translated pairs (a Chinese message, English candidates, or the reverse).
"""
import numpy as np
import torch.nn.functional as F

import batches
from readout import DESCRIPTION, EXAMPLE, NAME

SPELLINGS = (str, lambda label: label.replace(" ", "_"), lambda label: label.replace(" ", "-"))


def spell(rng, label, others):
    """One way a user may write a label."""
    r = rng.random()
    if others and r < 0.5:
        label = rng.choice(others)
    if label.isascii() and " " in label:
        r = rng.random()
        return SPELLINGS[1 if r < 0.12 else 2 if r < 0.18 else 0](label)
    return label


def from_pairs(rng, pairs, kind, asked):
    n = rng.randint(5, 20)
    chosen = rng.sample(pairs, n)
    flip = rng.random() < 0.5
    ask, show = (1, 0) if flip else (0, 1)
    segments = [(p[show], i, kind) for i, p in enumerate(chosen)]
    return segments, [(chosen[i][ask], i) for i in rng.sample(range(n), min(asked, n))], n


def from_set(rng, s, most, several, asked):
    labels = rng.sample(list(s["labels"]), rng.randint(2, min(most, len(s["labels"]))))
    shots = rng.choice(several)
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
    return segments, rng.sample(queries, min(asked, len(queries))), len(labels)


def draw(rng, source):
    r = rng.random()
    if r < 0.12:
        return from_pairs(rng, source.pairs, EXAMPLE, source.queries)
    if r < 0.20:
        return from_pairs(rng, source.parallel, NAME, source.queries)
    return from_set(rng, source.intent_set(rng, source.chinese), rng.choice(source.ways), source.shots, source.queries)


def loss(embed, head, source, rng, n=4):
    """Mean cross-entropy of n episodes and the share answered right."""
    drawn = [draw(rng, source) for _ in range(n)]
    z = embed([t for segments, _, _ in drawn for t, _, _ in segments]
              + source.typed(rng, [t for _, queries, _ in drawn for t, _ in queries]))
    # padded to the most segments S, queries Q and ways W of an episode: a row of z, owner (-1: no segment), kind; gold (-100)
    most = [max(len(d[k]) for d in drawn) for k in (0, 1)]
    ways, first = max(d[2] for d in drawn), sum(len(d[0]) for d in drawn)
    at, owner, kind = (np.full((n, most[0]), f) for f in (0, -1, 0))
    ask, gold = (np.full((n, most[1]), f) for f in (0, -100))
    shown = 0
    for e, (segments, queries, _) in enumerate(drawn):
        s, q = len(segments), len(queries)
        at[e, :s], ask[e, :q] = range(shown, shown + s), range(first, first + q)
        owner[e, :s], kind[e, :s] = [i for _, i, _ in segments], [k for _, _, k in segments]
        present = set(owner[e, :s])
        gold[e, :q] = [i if i in present else ways for _, i in queries]
        shown, first = shown + s, first + q
    at, owner, kind, ask, gold = (batches.onto(a, embed.device) for a in (at, owner, kind, ask, gold))
    logits = head.logits(z[ask], z[at], owner, kind, ways, source.discriminant)
    asked = gold >= 0
    each = F.cross_entropy(logits.flatten(0, 1), gold.flatten(), reduction="none").view(gold.shape)
    right = (logits.argmax(-1) == gold) & asked
    return (each.sum(1) / asked.sum(1)).mean(), right.sum() / asked.sum()
