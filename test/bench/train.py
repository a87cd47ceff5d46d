"""train: the trainer's step on one thread; peer: PyTorch. Memory of fsi_train.

"small" is 6 x 384, vocabulary 12,000, 16 rows of 256 tokens, with dropout 0.1, the default, and with none; "base" GPT-2's
12 x 768, vocabulary 21,128, 4 rows of 64 tokens. Both sides clip to norm 1 and update with AdamW, in fp32. Tokens are counted
per second of CPU time, which others on the machine disturb least. Memory is that of a backend that trains all 102 million
parameters of a GPT-2 of the base shape: its peak resident size, what it shares with others included.
"""
import random
import re

import harness
from data import han

STEPS, CASES = 1, (("small", "0.1"), ("small", "0"), ("base", "0"))
MEMORY_ROWS, MEMORY_TOKENS, MEMORY_LIMIT_GB = 8, 256, 6


def case(side, last):
    def run(_):
        last.update(side.ask(f"steps {STEPS}"))
        return last["tokens"] / last["cpu"]
    return run


def peak_gb(session):
    """The backend's own process at its largest."""
    with open(f"/proc/{session.ask('SELECT pg_backend_pid()')[0]}/status", encoding="ascii") as f:
        return int(re.search(r"VmHWM:\s*(\d+) kB", f.read()).group(1)) / 1024 / 1024


def memory(piece, data):
    """One step with its checkpoint and the model that comes of it, by SQL."""
    r = random.Random(1)
    rows = ", ".join(f"('{han(r, MEMORY_TOKENS - 8)}', 'refund')" for _ in range(MEMORY_ROWS))
    data.with_base()
    with harness.Session() as s:
        s.ask("CREATE TABLE memory_row AS SELECT * FROM (VALUES " + rows + ") v(prompt, response)",
              "CALL fsi_train('base trained', 'memory_row', '{\"model\": \"base\", \"max_steps\": 1, \"eval_split\": 0, "
              f"\"per_device_train_batch_size\": {MEMORY_ROWS}, \"save_steps\": 1}}')")
        peak = peak_gb(s)
        s.ask("SELECT fsi_drop_model('base trained')", "DROP TABLE memory_row")
    piece.figure(f"fsi_train, 102M parameters, {MEMORY_ROWS} x {MEMORY_TOKENS} tokens: peak memory", "GB", [peak])
    piece.ratio(f"peak memory / {MEMORY_LIMIT_GB} GB", [peak], [MEMORY_LIMIT_GB], 1, at_most=True)


def run(data):
    piece = harness.Piece("train", "a training step, 1 thread")
    for shape, dropout in CASES:
        sides = {"fsi_intent": harness.Peer([f"{harness.OUT}/bench_train", 1, dropout, shape], 1)}
        torch = [c for c in harness.python_peers("peer_train.py", dropout, shape, threads=(1,)) if c[0] == "torch"]
        sides.update(harness.open_peers(piece, torch))
        last = {name: {} for name in sides}
        for side in sides.values():
            side.ask("steps 1")
        got = harness.rounds({name: case(side, last[name]) for name, side in sides.items()})
        for name, values in got.items():
            piece.figure(f"{name}, {shape}, dropout {dropout}", "tokens/s", values)
            piece.note(f"  {name}: peak memory {last[name]['peak_mb']} MB, loss {last[name]['loss']:.2f}")
            if name != "fsi_intent":
                piece.ratio(f"fsi_intent / {name}, {shape}, dropout {dropout}", got["fsi_intent"], values, 1)
        for side in sides.values():
            side.close()
    memory(piece, data)
    return piece.end()
