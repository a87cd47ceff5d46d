"""train: the trainer's step, 6 x 384, vocabulary 12,000, 16 rows of 256 tokens, one thread; peer: PyTorch.

With dropout 0.1, the default, and with none. Both sides clip to norm 1 and update with AdamW, in fp32. Tokens are counted
per second of CPU time, which others on the machine disturb least.
"""
import harness

STEPS, DROPOUTS = 1, ("0.1", "0")


def case(side, last):
    def run(_):
        last.update(side.ask(f"steps {STEPS}"))
        return last["tokens"] / last["cpu"]
    return run


def run(_):
    piece = harness.Piece("train", "a training step of 6 x 384, vocabulary 12,000, 16 x 256 tokens, 1 thread")
    for dropout in DROPOUTS:
        sides = {"fsi_intent": harness.Peer([f"{harness.OUT}/bench_train", 1, dropout], 1)}
        torch = [c for c in harness.python_peers("peer_train.py", dropout, threads=(1,)) if c[0] == "torch"]
        sides.update(harness.open_peers(piece, torch))
        last = {name: {} for name in sides}
        for side in sides.values():
            side.ask("steps 1")
        got = harness.rounds({name: case(side, last[name]) for name, side in sides.items()})
        for name, values in got.items():
            piece.figure(f"{name}, dropout {dropout}", "tokens/s", values)
            piece.note(f"  {name}: peak memory {last[name]['peak_mb']} MB, loss {last[name]['loss']:.2f}")
            if name != "fsi_intent":
                piece.ratio(f"fsi_intent / {name}", got["fsi_intent"], values)
        for side in sides.values():
            side.close()
    return piece.end()
