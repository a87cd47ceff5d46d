"""Workload W for the peers: a GPT-2 of the base shape with random weights, its prefix, messages and labels.

A row reads a prefix of 200 tokens that all rows share and 24 tokens of its own; 8 labels of 4 tokens, pairs of which begin
alike, are scored whole: as a tree of 4 + 8 + 8 further tokens on top of the message (a label's last token is only scored).
"""
import os

import numpy as np

LAYERS, WIDTH, HEADS, VOCABULARY, POSITIONS, EPSILON = 12, 768, 12, 21128, 1024, 1e-5
PREFIX, MESSAGE, LABELS, LABEL_TOKENS, ROWS = 200, 24, 8, 4, 2048
NODES = MESSAGE + 4 + 8 + 8
SEED = 768


def weights():
    """{name: fp32 array}; matrices are (in, out)."""
    r = np.random.default_rng(SEED)

    def normal(*shape):
        return r.standard_normal(shape, dtype=np.float32) * np.float32(0.02)

    w = {"tokens": normal(VOCABULARY, WIDTH), "positions": normal(POSITIONS, WIDTH)}
    for i in range(LAYERS):
        for name, n_in, n_out in (("qkv", WIDTH, 3 * WIDTH), ("out", WIDTH, WIDTH), ("up", WIDTH, 4 * WIDTH),
                                  ("down", 4 * WIDTH, WIDTH)):
            w[f"{i}.{name}.weight"], w[f"{i}.{name}.bias"] = normal(n_in, n_out), normal(n_out)
        for name in ("norm1", "norm2"):
            w[f"{i}.{name}.weight"], w[f"{i}.{name}.bias"] = 1 + normal(WIDTH), normal(WIDTH)
    w["norm.weight"], w["norm.bias"] = 1 + normal(WIDTH), normal(WIDTH)
    return w


def ids():
    """(prefix, labels (LABELS, LABEL_TOKENS), messages (ROWS, MESSAGE)) as token ids."""
    r = np.random.default_rng(SEED + 1)
    prefix = r.integers(0, VOCABULARY, PREFIX)
    labels = r.integers(0, VOCABULARY, (LABELS, LABEL_TOKENS))
    labels[1::2, 0] = labels[::2, 0]
    return prefix, labels, r.integers(0, VOCABULARY, (ROWS, MESSAGE))


def tree():
    """(positions (NODES), mask (NODES, NODES) of 0 and -inf, scored nodes) of a row's message and label tokens."""
    parent = list(range(-1, MESSAGE - 1)) + [MESSAGE - 1] * 4 + [MESSAGE + n // 2 for n in range(8)] \
        + [MESSAGE + 4 + n for n in range(8)]
    depth = list(range(MESSAGE)) + [MESSAGE] * 4 + [MESSAGE + 1] * 8 + [MESSAGE + 2] * 8
    mask = np.full((NODES, NODES), -np.inf, np.float32)
    for node in range(NODES):
        above = node
        while above >= 0:
            mask[node, above] = 0
            above = parent[above]
    return PREFIX + np.array(depth), mask, np.arange(MESSAGE - 1, NODES)


def tree_tokens(messages, labels):
    """Token ids (rows, NODES)."""
    below = np.concatenate([labels[::2, 0], labels[:, 1], labels[:, 2]])
    return np.concatenate([messages, np.broadcast_to(below, (len(messages), len(below)))], 1)


def label_scores(logp, labels):
    """Log-likelihoods (rows, LABELS) from logp (rows, scored nodes, vocabulary or the labels' own tokens in order)."""
    n = np.arange(LABELS)
    nodes = np.stack([0 * n, 1 + n // 2, 5 + n, 13 + n])
    return sum(logp[:, nodes[t], labels[:, t]] for t in range(LABEL_TOKENS))


def norm(x, weight, bias):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON) * weight + bias


def prefix_keys(w, prefix):
    """Keys and values of the prefix: (LAYERS, 2, HEADS, PREFIX, width of a head)."""
    x = w["tokens"][prefix] + w["positions"][:PREFIX]
    hide = np.triu(np.full((PREFIX, PREFIX), -np.inf, np.float32), 1)
    out = []
    for i in range(LAYERS):
        def linear(x, name):
            return x @ w[f"{i}.{name}.weight"] + w[f"{i}.{name}.bias"]
        h = linear(norm(x, w[f"{i}.norm1.weight"], w[f"{i}.norm1.bias"]), "qkv")
        q, k, v = h.reshape(PREFIX, 3, HEADS, -1).transpose(1, 2, 0, 3)
        out.append((k, v))
        a = q @ k.transpose(0, 2, 1) / np.sqrt(np.float32(q.shape[-1])) + hide
        a = np.exp(a - a.max(-1, keepdims=True))
        a = (a / a.sum(-1, keepdims=True)) @ v
        x = x + linear(a.transpose(1, 0, 2).reshape(PREFIX, WIDTH), "out")
        u = linear(norm(x, w[f"{i}.norm2.weight"], w[f"{i}.norm2.bias"]), "up")
        u = 0.5 * u * (1 + np.tanh(np.float32(0.7978845608) * (u + np.float32(0.044715) * u ** 3)))
        x = x + linear(u, "down")
    return np.array(out)


def prefix_file(folder, w):
    """prefix_keys, computed once and kept."""
    path = f"{folder}/gpt2-prefix.npy"
    if not os.path.exists(path):
        np.save(path + ".new.npy", prefix_keys(w, ids()[0]))
        os.replace(path + ".new.npy", path)
    return np.load(path)
