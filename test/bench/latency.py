"""latency: one message at a time on a warm connection, another message each time; peers alone with one message, too."""
import harness
import w
from harness import INTENTS, Session

SINGLE = max(20, min(200, harness.ROWS // 100))
SINGLE_BASE = max(4, SINGLE // 10)


def ours(table, rows, question):
    """A case: median milliseconds of a prepared single-row SELECT."""
    def run(r):
        with Session("max_parallel_workers_per_gather = 0") as s:
            s.ask(f"PREPARE one(int) AS SELECT fsi_classify(msg, {question}) FROM {table} WHERE id = $1",
                  *(f"EXECUTE one({1000 + i})" for i in range(10)))
            times = s.times([f"EXECUTE one({1 + (r * rows + i) % harness.ROWS})" for i in range(rows)])
        return sorted(times)[len(times) // 2]
    return run


def theirs(peer, rows):
    def run(r):
        times = [peer.ask(f"row {r * rows + i}")["seconds"] * 1e3 for i in range(rows)]
        return sorted(times)[len(times) // 2]
    return run


def shipped(data):
    piece = harness.Piece("latency, shipped", f"one message a statement, warm, 20 intents; medians of {SINGLE}")
    peers = harness.open_peers(piece, harness.python_peers("peer_minilm.py", data.slices))
    got = harness.rounds({"fsi_classify": ours("message", SINGLE, harness.array(INTENTS)),
                          **{f"all-MiniLM-L6-v2, {n}": theirs(p, SINGLE) for n, p in peers.items()}})
    piece.figures("ms", got)
    for name, values in list(got.items())[1:]:
        piece.ratio(f"{name} / fsi_classify", values, got["fsi_classify"])
    for peer in peers.values():
        peer.close()
    return piece.end()


def base(data):
    question = data.with_base()
    piece = harness.Piece("latency, base shape", f"one row of workload w a statement, prefix kept; medians of {SINGLE_BASE}")
    piece.note("llama.cpp's row: 24 tokens after the cached prefix, then 4 greedy ones; the others' score all labels")
    peers = w.open_peers(piece)
    got = harness.rounds({
        **{f"fsi_classify, {s}": ours("w_message", SINGLE_BASE, f"{question.intents}, {question.options(scoring=s)}")
           for s in ("trie", "sequence")},
        **{n: theirs(p, SINGLE_BASE) for n, p in peers.items()}})
    piece.figures("ms", got)
    for name in peers:
        piece.ratio(f"{name} / fsi_classify, trie", got[name], got["fsi_classify, trie"],
                    3 if name.startswith("llama.cpp") else None)
    for peer in peers.values():
        peer.close()
    return piece.end()


def run(data):
    return {"shipped": shipped(data), "base": base(data)}
