"""connections: 1, 2 and 20 connections that each ask about one message at a time (pgbench), and what each costs in memory."""
import glob
import os
import re
import subprocess

import harness
from harness import INTENTS, Session

SECONDS = 5 if harness.ROWS >= 5000 else 1
MANY = 20


def pgbench(clients, got):
    """A case: statements a second; latencies are added to got[clients] as (median, 95th percentile)."""
    script, log = os.path.join(harness.TMP, "one.pgbench"), os.path.join(harness.TMP, "pgbench_log")
    with open(script, "w", encoding="utf8") as f:
        # With a number behind it no message comes twice, which a connection would remember.
        f.write(f"\\set id random(1, {harness.ROWS})\n\\set salt random(1, 1000000)\n"
                f"SELECT fsi_classify(msg || ' ' || :salt, {harness.array(INTENTS)}) FROM message WHERE id = :id;\n")

    def run(_):
        out = subprocess.run([os.path.join(harness.PGBIN, "pgbench"), "-n", "-M", "prepared", "-c", str(clients), "-j",
                              str(min(2, clients)), "-T", str(SECONDS), "-l", "--log-prefix", log, "-f", script],
                             check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf8").stdout
        times = []
        for path in glob.glob(log + ".*"):
            with open(path, encoding="ascii") as f:
                times += [int(line.split()[2]) / 1e3 for line in f]
            os.unlink(path)
        times.sort()
        got.setdefault(clients, []).append((times[len(times) // 2], times[len(times) * 95 // 100]))
        return float(re.search(r"tps = ([0-9.]+)", out).group(1))
    return run


def memory(session):
    """(Pss, private) of a connection's backend in MB. Private: memory of its own (Pss_Anon). Private_Dirty would count the model's
    file, too, until the system has written a fresh one to disk."""
    pid = session.ask("SELECT pg_backend_pid()")[0]
    kb = {}
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        for line in list(f)[1:]:
            key, value = line.split()[:2]
            kb[key.rstrip(":")] = int(value)
    return kb["Pss"] / 1024, kb["Pss_Anon"] / 1024


def held(piece, name, statement, count=MANY):
    """Memory of `count` connections at once that have each run a statement."""
    sessions = [Session("max_parallel_workers_per_gather = 0") for _ in range(count)]
    try:
        for s in sessions:
            s.ask(statement)
        sizes = [memory(s) for s in sessions]
    except OSError as e:
        piece.missing(name, str(e))
        return None
    finally:
        for s in sessions:
            s.close()
    piece.figure(f"{name}: Pss", "MB", [x[0] for x in sizes])
    piece.figure(f"{name}: private", "MB", [x[1] for x in sizes])
    return [x[1] for x in sizes]


def run(data):
    piece = harness.Piece("connections", f"one message a statement, {SECONDS} s a turn; memory of connections")
    times = {}
    got = harness.rounds({f"{n} connection{'s' * (n > 1)}": pgbench(n, times) for n in (1, 2, MANY)},
                         min(3, harness.ROUNDS))
    piece.figures("rows/s", got)
    for n, pairs in times.items():
        piece.figure(f"{n} connections: median latency", "ms", [p[0] for p in pairs])
        piece.figure(f"{n} connections: 95th percentile", "ms", [p[1] for p in pairs])
    piece.ratio("20 connections / 2 connections", got["20 connections"], got["2 connections"])
    intents = harness.array(INTENTS)
    answered = held(piece, "20 connections that have answered", f"SELECT fsi_classify('where is my parcel?', {intents})")
    held(piece, "20 connections that have done nothing", "SELECT 1")
    a, b = data.ids(0)
    scanned = held(piece, "a connection after a scan", harness.scan(data.source_of(a, b), intents), 1)
    held(piece, "a connection after fsi_classify_many", harness.scan(data.source_of(a, b), intents, many=True), 1)
    base = data.with_base()
    held(piece, "2 connections after workload w", harness.scan(base.rows(0), base.intents, base.options()), 2)
    for name, sizes in (("that has answered", answered), ("after a scan", scanned)):
        if sizes:
            piece.ratio(f"private memory of a connection {name} / 16 MB", sizes, [16.0] * len(sizes), 1, True)
    return piece.end()
