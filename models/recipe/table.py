"""Similarities of many questions, computed once, so that scalars can be tried on them in milliseconds.

A question is {"text", "candidates": [{"name" or None, "descriptions", "examples"}], "gold": index or -1 for `other`,
"group": what its figure is averaged in, "lang"}. Arrays are padded: names (Q, C), descriptions and examples (Q, C, K).
"""
import numpy as np
import torch

import batches
import readout


@torch.no_grad()
def vectors(texts, student, head, tokenizer):
    """Distinct texts to the two projected unit vectors: {text: row}, (T, C) for messages, (T, C) for segments."""
    texts = sorted(set(texts))
    z = batches.Embedder(student, tokenizer, next(student.parameters()).device, batches.LONG_TOKENS)(texts)
    project = lambda m: torch.nn.functional.normalize(z @ m, dim=-1).cpu().numpy()
    return {t: i for i, t in enumerate(texts)}, project(head.q), project(head.k)


def parts(candidate):
    name = candidate.get("name")
    return [name] if name is not None else [], candidate.get("descriptions", []), candidate.get("examples", [])


def apart(asked, candidates, row, shown, ridge):
    """(n,): a message's products with the directions of its question's candidates; 0 where none has examples."""
    if len(candidates) < 2 or not any(c.get("examples") for c in candidates):
        return np.zeros(len(candidates))
    segments = [(row[t], i) for i, c in enumerate(candidates) for p in parts(c) for t in p]
    rows, owner = zip(*segments)
    return readout.directions(shown[list(rows)], owner, len(candidates), ridge) @ asked


class Table:
    """ridge: `discriminant_ridge` of all scalars that are tried on the table."""

    def __init__(self, questions, student, head, tokenizer, spelling, ridge=readout.DEFAULTS["discriminant_ridge"]):
        student.eval()
        texts = [q["text"] for q in questions] + [t for q in questions for c in q["candidates"] for p in parts(c)
                                                  for t in p]
        row, asked, shown = vectors(texts, student, head, tokenizer)
        self.gold = np.array([q["gold"] for q in questions])
        self.groups = np.array([q.get("group", "") for q in questions])
        self.langs = np.array([q.get("lang", "") for q in questions])
        ways = max(len(q["candidates"]) for q in questions)
        most = [max([1] + [len(parts(c)[k]) for q in questions for c in q["candidates"]]) for k in range(3)]
        # meaning, spelling and presence of names, descriptions, examples
        self.sims = [np.zeros((3, len(questions), ways, m)) for m in most]
        self.candidate = np.zeros((len(questions), ways), bool)
        self.ridge, self.apart = ridge, np.zeros((len(questions), ways))
        for i, q in enumerate(questions):
            z = asked[row[q["text"]]]
            self.apart[i, :len(q["candidates"])] = apart(z, q["candidates"], row, shown, ridge)
            for c, candidate in enumerate(q["candidates"]):
                self.candidate[i, c] = True
                for k, segments in enumerate(parts(candidate)):
                    for j, t in enumerate(segments):
                        self.sims[k][:, i, c, j] = z @ shown[row[t]], spelling.cosine(q["text"], t), 1

    def pools(self, c):
        """N + F and X + F of every candidate, and which candidates have names and examples: readout.py's formula."""
        if c["discriminant_share"] and c["discriminant_ridge"] != self.ridge:
            raise ValueError("the table was made with another discriminant_ridge")
        sim = [s[0] + c["spelling_weight"] * s[1] for s in self.sims]
        here = [s[2] for s in self.sims]
        mean = lambda s, m: (s * m).sum(-1) / np.maximum(m.sum(-1), 1)
        n, d = mean(sim[0], here[0]), mean(sim[1], here[1])
        told, shown = here[1].any(-1), here[2].any(-1)
        v = c["description_weight"]
        n = np.where(told, (n + v * d) / (1 + v), n)
        weight = here[2] * np.exp(c["example_sharpness"] * sim[2]) if c["example_sharpness"] else here[2]
        x = (sim[2] * weight).sum(-1) / np.maximum(weight.sum(-1), 1e-300)
        f = c["discriminant_share"] * self.apart
        return n + f, x + f, here[0].any(-1), shown

    def logits(self, c):
        """(Q, C + 1): candidates and, last, `other`; candidates that are not there get -1e9."""
        n, x, named, shown = self.pools(c)
        out = np.where(named & shown, c["both_scale"] * (c["name_share"] * n + (1 - c["name_share"]) * x)
                       + c["both_bias"],
                       np.where(shown, c["example_scale"] * x + c["example_bias"],
                                c["name_scale"] * n + c["name_bias"]))
        out = np.where(self.candidate, out, -1e9)
        top = out.max(1)
        pooled = top + np.log(np.exp(out - top[:, None]).sum(1))
        return np.concatenate([out, (c["other_logit"] + c["other_share"] * pooled)[:, None]], 1)

    def right(self, c):
        """Which answerable questions are answered right when `other` is not offered."""
        return self.logits(c)[:, :-1].argmax(1) == self.gold

    def by_group(self, c):
        right = self.right(c)
        return {g: 100 * right[(self.groups == g) & (self.gold >= 0)].mean() for g in sorted(set(self.groups))}
