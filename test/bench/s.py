"""s: the shipped model, messages of all lengths in both languages, 20 intents by name, text in, label out.

Each round asks every side about the same slice of the messages (the peers about its English half, which is all they read),
the slices together being all of them. Peers choose their form of the graph and batch size first, sort by length, and
tokenise within the time that is measured.
"""
import harness
from harness import INTENTS, Session

MACS_PER_TOKEN = 12 * 384 * 384 * 6
ONE, TWO = "fsi_classify, 1 backend", "fsi_classify, 2 backends"
MANY_ONE, MANY_TWO = "fsi_classify_many, 1 backend", "fsi_classify_many, 2 backends"
ENGLISH = "fsi_classify, 2 backends, English half"
ENGLISH_MANY = "fsi_classify_many, 2 backends, English half"
SETTINGS = ("max_parallel_workers_per_gather = 0",)
INT8 = "ONNX Runtime int8, {} threads"


def ours(data, backends, many=False, lang=None):
    """A case: rows a second of new connections that have each answered a few messages of another slice."""
    intents = harness.array(INTENTS)

    def run(r):
        sessions = [Session(*SETTINGS) for _ in range(backends)]
        a, b = data.ids(r)
        warm = data.ids(r + 1)[0]
        parts = [(a + (b - a + 1) * i // backends, a + (b - a + 1) * (i + 1) // backends - 1) for i in range(backends)]
        for s in sessions:
            s.ask(harness.scan(data.source_of(warm, warm + 15), intents, many=many))
        seconds = harness.wall(sessions, [harness.scan(data.source_of(*p, lang), intents, many=many) for p in parts])
        for s in sessions:
            s.close()
        return (len(data.english(r)) if lang else data.per_slice) / seconds
    return run


def theirs(peer):
    def run(r):
        answer = peer.ask(f"slice {r % harness.ROUNDS}")
        return answer["rows"] / answer["seconds"]
    return run


def run(data):
    piece = harness.Piece("s", f"shipped model, {data.rows:,} messages of {data.tokens:.1f} tokens, 20 intents by name")
    peers = harness.open_peers(piece, harness.python_peers("peer_minilm.py", data.slices))
    for name, peer in peers.items():
        chosen = peer.ask("tune")
        piece.note(f"{name}: fastest here with batches of {chosen['batch']}, {chosen['form']} graph")
    cases = {ONE: ours(data, 1), TWO: ours(data, 2), MANY_ONE: ours(data, 1, True), MANY_TWO: ours(data, 2, True),
             ENGLISH: ours(data, 2, lang="en"), ENGLISH_MANY: ours(data, 2, True, "en"),
             **{f"all-MiniLM-L6-v2, {name}": theirs(peer) for name, peer in peers.items()},
             "int8 peak, 2 processes": lambda r: harness.int8_peak(2)}
    got = harness.rounds(cases)
    peak = got.pop("int8 peak, 2 processes")
    piece.figures("rows/s", got)
    for mine, target in ((TWO, 2), (MANY_TWO, 2), (ENGLISH, None), (ENGLISH_MANY, None)):
        for name in (f"all-MiniLM-L6-v2, {n}" for n in peers if n.endswith("2 threads")):
            piece.ratio(f"{mine} / {name.removeprefix('all-MiniLM-L6-v2, ')}", got[mine], got[name],
                        target if "int8" in name else None)
    for mine in (ONE, MANY_ONE):
        for name in (n for n in peers if n == "ONNX Runtime int8, 1 thread"):
            piece.ratio(f"{mine} / {name}", got[mine], got[f"all-MiniLM-L6-v2, {name}"])
    if 0 in peak:
        piece.missing("share of the int8 arithmetic limit", "bench_gemm knows no peak of this CPU's level")
    else:
        piece.figure("int8 multiply-adds on registers alone, 2 processes", "GOP/s", peak)
        limit = [p * 1e9 / 2 / (data.tokens * MACS_PER_TOKEN) for p in peak]
        piece.figure("limit of these messages' tokens at that peak", "rows/s", limit)
        for mine in (TWO, MANY_TWO):
            piece.ratio(f"{mine} / that limit", got[mine], limit, 0.5)
    for peer in peers.values():
        peer.close()
    return piece.end()
