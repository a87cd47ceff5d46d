"""w: a GPT-2 of the base shape with random weights, a prefix of 200 tokens, 24 tokens a row, 8 labels of 4 tokens (of
which ours count the token that ends an answer).

"sequence" scores every label token, as the peers do in one pass over a tree of 44 tokens a row; "trie", the default, asks
only what decides. The peers' weights are random too, but their own; among themselves they read the same weights and ids, and
their scores of one row are compared.
"""
import subprocess

import harness
from data import W_LABELS, W_MESSAGE, W_PREFIX
from harness import W_ROWS, Session

PEER_ROWS = min(32, max(8, W_ROWS))
BODY, WIDTH, VOCABULARY, LAYERS = 12 * 12 * 768 * 768, 768, 21128, 12
NODES, SCORED = 44, 21
# Keys that a row's tokens look at: the prefix and what is above each of them in the tree.
KEYS = NODES * W_PREFIX + sum(range(1, W_MESSAGE + 1)) + 4 * 25 + 8 * 26 + 8 * 27
MACS_PER_ROW = NODES * BODY + KEYS * 2 * WIDTH * LAYERS + SCORED * WIDTH * VOCABULARY
GGUF = ("F16", "F32", "Q8_0")


def prepare(piece):
    """The peers' files; False (and said) where they cannot be made."""
    installed = [p for p in ("ort", "torch", "llama") if harness.peer_version(p)[0]]
    if not installed:
        return
    made = subprocess.run([harness.PYTHON, f"{harness.HERE}/peers/make_models.py", harness.PEERS,
                           *(["gguf"] if "llama" in installed else [])], stderr=subprocess.PIPE, encoding="utf8")
    if made.returncode:
        piece.missing("the peers' models", made.stderr)


def open_peers(piece):
    prepare(piece)
    llama = [("llama", f"llama.cpp {k}", t,
              [f"{harness.PEERS}/peer_llama", f"{harness.PEERS}/gpt2-{k}.gguf", t, f"{harness.PEERS}/gpt2.ids"])
             for t, kinds in ((2, GGUF), (1, ("F32",))) for k in kinds]
    return harness.open_peers(piece, harness.python_peers("peer_gpt2.py") + llama)


def ours(base, scoring, form, backends, *settings):
    """A case: rows a second of connections that know the prefix already."""
    def run(r):
        sessions = [Session("max_parallel_workers_per_gather = 0", *settings) for _ in range(backends)]
        options = base.options(scoring=scoring)
        for s in sessions:
            s.ask(f"SELECT fsi_classify('', {base.intents}, {options})")
        seconds = harness.wall(sessions, [harness.scan(base.rows(r, i, backends), base.intents, options,
                                                       form == "fsi_classify_many") for i in range(backends)])
        for s in sessions:
            s.close()
        return W_ROWS // backends * backends / seconds
    return run


def theirs(peer):
    def run(r):
        answer = peer.ask(f"tree {r * PEER_ROWS} {PEER_ROWS}")
        return answer["rows"] / answer["seconds"]
    return run


def compare_scores(piece, peers):
    """Whether the peers do the same work: their scores of the first row, against the first that calculates in fp32."""
    scores = {name: peer.ask("tree 0 1")["scores"] for name, peer in peers.items()}
    exact = [n for n in scores if "fp32" in n or "F32" in n]
    for name in scores if exact else ():
        away = max(abs(a - b) for a, b in zip(scores[name], scores[exact[0]]))
        piece.note(f"{name}: batches of {peers[name].chosen}; log-likelihoods within {away:.2g} of {exact[0]}")


def run(data):
    base = data.with_base()
    piece = harness.Piece("w", f"base shape, prefix of {base.prefix} tokens, {W_MESSAGE} tokens a row, {W_LABELS} labels "
                               f"of 4; {W_ROWS} rows a turn")
    node = harness.has_batch_node()
    form = "fsi_classify" if node else "fsi_classify_many"
    if not node:
        piece.note("this build has no batch node: the batched form is fsi_classify_many, the scalar one fsi_classify")
    peers = open_peers(piece)
    for peer in peers.values():
        peer.chosen = peer.ask("tune")["batch"]
    compare_scores(piece, peers)
    off = ("fsi_intent.enable_batch = off",) if node else ()
    cases = {f"{scoring}, {form}, {n} backend{'s' * (n - 1)}": ours(base, scoring, form, n)
             for scoring in ("sequence", "trie") for n in (1, 2)}
    cases.update({f"{scoring}, scalar path, 1 backend": ours(base, scoring, "fsi_classify", 1, *off)
                  for scoring in ("sequence", "trie")})
    cases.update({name: theirs(peer) for name, peer in peers.items()})
    cases["peak"] = lambda r: harness.int8_peak(2)
    got = harness.rounds(cases)
    peak = got.pop("peak")
    piece.figures("rows/s", got)
    sequence, trie = (f"{s}, {form}, 2 backends" for s in ("sequence", "trie"))
    for name in (n for n in peers if n.endswith("2 threads")):
        int8, llama = name.startswith("ONNX Runtime int8"), name.startswith("llama.cpp")
        piece.ratio(f"{sequence} / {name}", got[sequence], got[name], 2.5 if int8 else None)
        piece.ratio(f"{trie} / {name}", got[trie], got[name], 4 if int8 else 13 if llama else None)
    for scoring in ("sequence", "trie"):
        piece.ratio(f"{scoring}: batched / scalar path, 1 backend", got[f"{scoring}, {form}, 1 backend"],
                    got[f"{scoring}, scalar path, 1 backend"], 2.5)
    if 0 in peak:
        piece.missing("share of the int8 arithmetic limit", "bench_gemm knows no peak of this CPU's level")
    else:
        piece.figure("int8 multiply-adds on registers alone, 2 processes", "GOP/s", peak)
        limit = [p * 1e9 / 2 / MACS_PER_ROW for p in peak]
        piece.figure(f"limit of {MACS_PER_ROW / 1e9:.2f} G multiply-adds a row", "rows/s", limit)
        piece.ratio(f"{sequence} / that limit", got[sequence], limit, 0.6)
    for peer in peers.values():
        peer.close()
    return piece.end()
