"""Workload W through ONNX Runtime or PyTorch: the message and all label tokens of a batch of rows in one pass.

    peer_gpt2.py KIND THREADS PEERS

KIND: ort-int8, ort-fp32, torch. The prefix's keys and values are shared by all rows and given; attention over them is one
product for the whole batch. Requests: `tune` (choose the fastest batch size), `tree START COUNT` (score the labels for
COUNT rows), `row I` (one row alone).
"""
import os
import sys
import time

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import gpt2_random as g2  # noqa: E402
from serve import fastest, serve, timed  # noqa: E402

BATCHES = (8, 16, 32)
HEAD = g2.WIDTH // g2.HEADS


def build(w, path):
    """(ids, positions, mask, scored, wanted, prefix keys and values) -> log-probabilities of the wanted tokens."""
    from onnx_graph import FLOAT, INT64, Graph
    g = Graph()
    tokens, positions = g.input("ids", INT64, ["B", "T"]), g.input("positions", INT64, ["T"])
    mask = g.input("mask", FLOAT, ["T", "T"])
    scored, wanted = g.input("scored", INT64, ["S"]), g.input("wanted", INT64, ["K"])
    parts = g.input("parts", INT64, [2])
    x = g.node("Add", g.node("Gather", w["tokens"], tokens), g.node("Gather", w["positions"], positions))
    for i in range(g2.LAYERS):
        def linear(x, name):
            return g.linear(x, w[f"{i}.{name}.weight"], w[f"{i}.{name}.bias"])
        keys = g.input(f"keys{i}", FLOAT, [1, g2.HEADS, HEAD, "P"])
        values = g.input(f"values{i}", FLOAT, [1, g2.HEADS, "P", HEAD])
        h = linear(g.norm(x, w[f"{i}.norm1.weight"], w[f"{i}.norm1.bias"], g2.EPSILON), "qkv")
        heads = np.array([0, 0, g2.HEADS, HEAD])
        q, k, v = (g.node("Reshape", t, heads) for t in g.node("Split", h, outputs=3, axis=-1))
        q = g.node("Mul", g.node("Transpose", q, perm=[0, 2, 1, 3]), np.float32(HEAD ** -0.5))
        own = g.node("Add", g.node("MatMul", q, g.node("Transpose", k, perm=[0, 2, 3, 1])), mask)
        p = g.node("Softmax", g.node("Concat", g.node("MatMul", q, keys), own, axis=-1), axis=-1)
        before, own = g.node("Split", p, parts, outputs=2, axis=-1)
        a = g.node("Add", g.node("MatMul", before, values),
                   g.node("MatMul", own, g.node("Transpose", v, perm=[0, 2, 1, 3])))
        a = g.node("Reshape", g.node("Transpose", a, perm=[0, 2, 1, 3]), np.array([0, 0, g2.WIDTH]))
        x = g.node("Add", x, linear(a, "out"))
        u = linear(g.norm(x, w[f"{i}.norm2.weight"], w[f"{i}.norm2.bias"], g2.EPSILON), "up")
        x = g.node("Add", x, linear(g.node("FastGelu", u, domain="com.microsoft"), "down"))
    x = g.node("Gather", x, scored, axis=1)
    logits = g.linear(g.norm(x, w["norm.weight"], w["norm.bias"], g2.EPSILON), w["tokens"].T)
    g.node("Sub", g.node("Gather", logits, wanted, axis=2), g.node("ReduceLogSumExp", logits, axes=[-1], keepdims=1),
           names=["logp"])
    g.output("logp", FLOAT, ["B", "S", "K"])
    g.save(path)


def ort_forward(kind, threads, peers, w, prefix, wanted):
    from onnx_graph import quantize, session
    path = f"{peers}/gpt2.onnx"
    if not os.path.exists(path):
        build(w(), path)
    if kind == "ort-int8":
        source, path = path, f"{peers}/gpt2-int8.onnx"
        if not os.path.exists(path):
            quantize(source, path)
    s = session(path, threads)
    positions, mask, scored = g2.tree()
    fixed = {"positions": positions, "mask": mask, "scored": scored, "wanted": wanted,
             "parts": np.array([g2.PREFIX, g2.NODES])}
    for i, (k, v) in enumerate(prefix):
        fixed[f"keys{i}"] = np.ascontiguousarray(k.transpose(0, 2, 1)[None])
        fixed[f"values{i}"] = np.ascontiguousarray(v[None])
    return lambda ids: s.run(None, {"ids": ids, **fixed})[0]


def torch_forward(threads, w, prefix, wanted):
    import torch
    import torch.nn.functional as F
    torch.set_num_threads(threads)
    w = {k: torch.from_numpy(np.ascontiguousarray(v.T if k.endswith("weight") else v)) for k, v in w().items()}
    prefix = torch.from_numpy(prefix)
    positions, mask, scored = map(torch.from_numpy, g2.tree())
    wanted = torch.from_numpy(wanted)

    def norm(x, name):
        return F.layer_norm(x, (g2.WIDTH,), w[name + ".weight"], w[name + ".bias"], g2.EPSILON)

    def linear(x, name):
        return F.linear(x, w[name + ".weight"], w[name + ".bias"])

    @torch.inference_mode()
    def run(ids):
        b, t = ids.shape
        x = w["tokens"][torch.from_numpy(ids)] + w["positions"][positions]
        for i, (keys, values) in enumerate(prefix):
            q, k, v = linear(norm(x, f"{i}.norm1"), f"{i}.qkv").view(b, t, 3, g2.HEADS, HEAD).permute(2, 0, 3, 1, 4)
            q = q * HEAD ** -0.5
            # One product a head for all rows: the prefix is the same for every one.
            flat = q.transpose(0, 1).reshape(g2.HEADS, b * t, HEAD)
            before = (flat @ keys.transpose(1, 2)).view(g2.HEADS, b, t, -1).transpose(0, 1)
            p = torch.cat([before, q @ k.transpose(2, 3) + mask], -1).softmax(-1)
            before = p[..., :g2.PREFIX].transpose(0, 1).reshape(g2.HEADS, b * t, -1) @ values
            a = before.view(g2.HEADS, b, t, HEAD).transpose(0, 1) + p[..., g2.PREFIX:] @ v
            x = x + linear(a.transpose(1, 2).reshape(b, t, g2.WIDTH), f"{i}.out")
            x = x + linear(F.gelu(linear(norm(x, f"{i}.norm2"), f"{i}.up"), approximate="tanh"), f"{i}.down")
        logits = norm(x[:, scored], "norm") @ w["tokens"].T
        return (logits[..., wanted] - logits.logsumexp(-1, keepdim=True)).numpy()

    return run


def main():
    begin = time.perf_counter()
    kind, threads, peers = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    _, labels, messages = g2.ids()
    made = {}

    def w():
        if not made:
            made.update(g2.weights())
        return made

    prefix = np.load(f"{peers}/gpt2-prefix.npy")
    wanted, place = np.unique(labels, return_inverse=True)
    place = place.reshape(labels.shape)
    if kind == "torch":
        forward = torch_forward(threads, w, prefix, wanted)
    else:
        forward = ort_forward(kind, threads, peers, w, prefix, wanted)
    made.clear()
    batch = [16]

    def score(start, count):
        out = []
        for at in range(start, start + count, batch[0]):
            rows = messages[at % g2.ROWS:][:min(batch[0], start + count - at)]
            out.append(g2.label_scores(forward(g2.tree_tokens(rows, labels)), place))
        return np.concatenate(out)

    def tree(start, count):
        seconds, scores = timed(score, start, count)
        return {"seconds": seconds, "rows": len(scores), "scores": scores[0].tolist()}

    def tune():
        def seconds(size):
            batch[0] = size
            return timed(score, 0, max(BATCHES))[0]
        batch[0] = fastest(BATCHES, seconds)
        return {"batch": batch[0]}

    score(0, 1)
    serve({"start_seconds": time.perf_counter() - begin}, {"tune": tune, "tree": tree, "row": lambda i: tree(i, 1)})


if __name__ == "__main__":
    main()
