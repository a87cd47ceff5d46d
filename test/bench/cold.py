"""cold: the first call of a fresh connection, the model's file in the page cache; a peer's start, for comparison."""
import harness
from harness import INTENTS, Session

CALL = "SELECT fsi_classify('where is my parcel?', {})"
REPEATS = 15


def first(call, which=0, options=""):
    """A case: milliseconds of statement `which` of a connection that was made for it."""
    def run(_):
        with Session(options=options) as s:
            return s.times([call] * (which + 1))[which]
    return run


def run(data):
    piece = harness.Piece("cold", "first call of a fresh connection, model in the page cache")
    two, twenty = CALL.format("ARRAY['refund', 'track order']"), CALL.format(harness.array(INTENTS))
    got = harness.rounds({
        "first fsi_classify, 2 intents": first(two),
        "first fsi_classify, 20 intents": first(twenty),
        "the same, session_preload_libraries": first(twenty, 0, "-c session_preload_libraries=fsi_intent"),
        "second fsi_classify, 20 intents": first(twenty, 1),
        "first statement that only calls md5": first("SELECT md5('where is my parcel?')"),
    }, REPEATS)
    piece.figures("ms", got)
    piece.ratio("first fsi_classify, 2 intents / 10 ms", got["first fsi_classify, 2 intents"], [10.0] * REPEATS, 1, True)
    # A peer's process is started anew by opening it.
    for peer, title, threads, argv in harness.python_peers("peer_minilm.py", data.slices, threads=(2,)):
        starts = []
        for _ in range(3):
            for opened in harness.open_peers(piece, [(peer, title, threads, argv)]).values():
                starts.append(opened.info["start_seconds"] * 1e3)
                opened.close()
            if not starts:
                break
        if starts:
            piece.figure(f"all-MiniLM-L6-v2, {title}: load and first row", "ms", starts)
    return piece.end()
