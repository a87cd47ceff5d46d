"""Choose the readout's scalars on the validation sets: sets that training never saw, as a user's are.

Fitting them on training sets fails: meaning looks safer there than it is, and the spelling weight sinks. First the
shape (spelling weight, name's share, example sharpness, the discriminant's share) by accuracy, averaged over sets, then
shots, then languages; then scales and biases by likelihood, with `other` among the answers at a logit of 0: the biases are relative to it. Last
`other` itself, on questions of 3 to 60 intents of which a quarter lack the right one: an offset and a share of the
candidates' logsumexp.
"""
import itertools
import random

import numpy as np
import torch

import readout
from table import Table

WEIGHTS = (0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 2.5, 3)
SHARES = (0.4, 0.5, 0.6, 0.7, 0.8)
SHARPNESS = (0, 4)
DISCRIMINANT = (0, 0.5, 1, 2)
PER_CELL = 400  # questions of each set and form
WAYS = (3, 5, 8, 12, 20, 32, 60)  # of the questions for `other`


FORMS = [("plain", 0), ("plain", 1), ("plain", 3), ("plain", 8), ("hidden", 1), ("hidden", 3), ("mixed", 0)]  # kind and shots


def form(rng, shots, kind, names, train, labels):
    """The candidates of one question. kind: plain, hidden (no names), mixed (some without examples)."""
    out = []
    for label in labels:
        n = shots if kind != "mixed" else rng.choice((0, 0, 1, 3, 8))
        out.append({"name": None if kind == "hidden" else label,
                    "examples": rng.sample(train[label], min(n, len(train[label])))})
    return out


def questions(valid, seed=5, per_cell=PER_CELL):
    """Questions from the validation sets: 0, 1, 3 and 8 shots, names hidden, mixed; some lack the right intent."""
    rng, out = random.Random(seed), []
    for name, s in valid.items():
        usable = sorted(label for label in s["train"] if label in s["test"])
        for kind, shots in FORMS:
            for i in range(per_cell):
                ways = 5 if i % 2 else rng.randint(3, 16)
                labels = rng.sample(usable, min(ways, len(usable)))
                gold = rng.choice(labels)
                text = rng.choice(s["test"][gold])
                group = f"{name} {kind} {shots}"
                if i % 8 == 0 and len(usable) > len(labels):  # the right intent is not among the candidates
                    labels[labels.index(gold)] = rng.choice([x for x in usable if x not in labels])
                    gold = None
                out.append({"text": text, "lang": s["lang"], "group": group,
                            "gold": -1 if gold is None else labels.index(gold),
                            "candidates": form(rng, shots, kind, labels, s["train"], labels)})
    return out


def wide(valid, seed=7, per_cell=80):
    """Questions of up to all intents of a set; a quarter lack the right one."""
    rng, out = random.Random(seed), []
    for name, s in valid.items():
        usable = sorted(label for label in s["train"] if label in s["test"])
        for shots in (0, 1, 3):
            for i in range(per_cell):
                labels = rng.sample(usable, min(rng.choice(WAYS), len(usable) - 1))
                gold = rng.choice([x for x in usable if x not in labels] if i % 4 == 0 else labels)
                out.append({"text": rng.choice(s["test"][gold]), "lang": s["lang"], "group": f"{name} wide {shots}",
                            "gold": -1 if i % 4 == 0 else labels.index(gold),
                            "candidates": form(rng, shots, "plain", labels, s["train"], labels)})
    return out


def minimise(p, loss):
    """Move the numbers p to where loss() is least; what it is there."""
    opt = torch.optim.LBFGS([p], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        opt.zero_grad()
        value = loss()
        value.backward()
        return value

    opt.step(closure)
    return loss().item()


def other(table, c):
    """Offset and share of `other`, by likelihood; the rest of the readout stays."""
    logits = torch.tensor(table.logits(c)[:, :-1])
    gold = torch.tensor(np.where(table.gold < 0, logits.shape[1], table.gold))
    pooled = torch.logsumexp(logits, 1)
    p = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    minimise(p, lambda: torch.nn.functional.cross_entropy(torch.cat([logits, (p[0] + p[1] * pooled)[:, None]], 1), gold))
    return {"other_logit": round(p[0].item(), 3), "other_share": round(p[1].item(), 3)}


def balanced(table, c, wanted=("plain", "hidden", "mixed"), shots=None):
    """Mean accuracy over the groups of a language (of so many shots; None: all), then over languages."""
    right, scores = table.right(c), {}
    for g in sorted(set(table.groups)):
        if g.split()[-2] in wanted and shots in (None, int(g.split()[-1])):
            at = (table.groups == g) & (table.gold >= 0)
            scores.setdefault(table.langs[at][0], []).append(right[at].mean())
    return float(np.mean([np.mean(v) for v in scores.values()]))


def shape(table):
    """The best of the grid, and the grid."""
    grid = []
    for w, u, t, d in itertools.product(WEIGHTS, SHARES, SHARPNESS, DISCRIMINANT):
        c = {**readout.DEFAULTS, "spelling_weight": w, "name_share": u, "example_sharpness": float(t),
             "discriminant_share": float(d)}
        grid.append((balanced(table, c, ("plain", "hidden")), w, u, t, d))
    best = max(grid)[0]
    # differences under 0.1 points are noise here: among those, the plainest (equal shares, spelling and discriminant of weight 1)
    flat = [g for g in grid if g[0] >= best - 0.001]
    _, w, u, t, d = min(flat, key=lambda g: (abs(g[2] - 0.5), abs(g[1] - 1), abs(g[4] - 1), -g[0]))
    return {"spelling_weight": float(w), "name_share": u, "example_sharpness": float(t), "discriminant_share": float(d)}, grid


def likelihood(table, c):
    """Scales and biases that make the right answer (or `other`) most likely; every group weighs the same."""
    n, x, named, shown = (torch.tensor(a) for a in table.pools(c))
    here = torch.tensor(table.candidate)
    gold = torch.tensor(np.where(table.gold < 0, here.shape[1], table.gold))
    _, group, size = np.unique(table.groups, return_inverse=True, return_counts=True)
    weight = torch.tensor(1 / size[group])
    p = torch.tensor([np.log(12.0), -4.0] * 3, dtype=torch.float64, requires_grad=True)

    def loss():
        s, b = p[::2].exp(), p[1::2]
        logits = torch.where(named & shown, s[1] * (c["name_share"] * n + (1 - c["name_share"]) * x) + b[1],
                             torch.where(shown, s[2] * x + b[2], s[0] * n + b[0]))
        logits = torch.cat([torch.where(here, logits, -1e9), torch.zeros(len(logits), 1)], 1)
        return (torch.nn.functional.cross_entropy(logits, gold, reduction="none") * weight).sum() / weight.sum()

    least = minimise(p, loss)
    s, b = p[::2].exp().tolist(), p[1::2].tolist()
    r = lambda v: round(v, 3)
    return {"name_scale": r(s[0]), "name_bias": r(b[0]), "both_scale": r(s[1]), "both_bias": r(b[1]),
            "example_scale": r(s[2]), "example_bias": r(b[2]), "other_logit": 0.0}, least


def choose(valid, student, head, tokenizer, spelling, report=print):
    """All scalars, with a short report of what was tried."""
    table = Table(questions(valid), student, head, tokenizer, spelling)
    picked, grid = shape(table)
    for w in WEIGHTS:
        row = max(g for g in grid if g[1] == w)
        report(f"spelling weight {w}: validation accuracy {100 * row[0]:.2f} (name share {row[2]}, sharpness {row[3]}, "
               f"discriminant {row[4]})")
    c = {**readout.DEFAULTS, **picked}
    fitted, loss = likelihood(table, c)
    c.update(fitted)
    mixed = balanced(table, c, ("mixed",))
    many = Table(wide(valid), student, head, tokenizer, spelling)
    c.update(other(many, c))
    offered = many.logits(c).argmax(1)
    gone, none = many.gold < 0, many.candidate.shape[1]
    report(f"chosen {c}; validation {100 * balanced(table, c, ('plain', 'hidden')):.2f}, mixed {100 * mixed:.2f}, "
           f"likelihood {loss:.3f}; with other offered: right {100 * (offered == many.gold)[~gone].mean():.1f}, "
           f"other found {100 * (offered == none)[gone].mean():.1f}, "
           f"other said wrongly {100 * (offered == none)[~gone].mean():.1f}")
    return c, table
