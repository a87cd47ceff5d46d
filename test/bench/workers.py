"""workers: the same scan by one and by two parallel workers, the leader only collecting, and by the default two processes."""
import json

import harness
from harness import INTENTS, Session

TURNS = 3


def debug_parallel():
    """The setting that is force_parallel_mode until PostgreSQL 15."""
    with Session() as s:
        return s.ask("SELECT name FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')")[0]


def scan(leader, workers):
    """A case: rows a second of a parallel scan of all messages; the number of workers that ran is checked."""
    def run(_):
        with Session(f"max_parallel_workers_per_gather = {workers}", "parallel_setup_cost = 0", "parallel_tuple_cost = 0",
                     "min_parallel_table_scan_size = 0", f"parallel_leader_participation = {leader}",
                     # A single worker saves nothing where the leader only collects: the planner must be told.
                     f"{debug_parallel()} = {'on' if leader == 'off' and workers == 1 else 'off'}") as s:
            s.ask(f"SELECT fsi_classify('warm', {harness.array(INTENTS)})")
            plan = s.ask("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) "
                         f"SELECT id, fsi_classify(msg, {harness.array(INTENTS)}) FROM message")
        top = json.loads("\n".join(plan))[0]
        launched = workers_of(top["Plan"])
        if launched != workers:
            raise RuntimeError(f"{launched} workers ran where {workers} were asked for")
        return harness.ROWS / (top["Execution Time"] / 1e3)
    return run


def workers_of(plan):
    return max([plan.get("Workers Launched", 0)] + [workers_of(p) for p in plan.get("Plans", [])])


def run(data):
    piece = harness.Piece("workers", f"parallel scan of {data.rows:,} messages, shipped model, 20 intents")
    with Session() as s:
        s.ask("ALTER TABLE message SET (parallel_workers = 2)")
    got = harness.rounds({"no workers": scan("on", 0), "1 worker, leader collects": scan("off", 1),
                          "2 workers, leader collects": scan("off", 2), "1 worker and the leader": scan("on", 1)},
                         min(TURNS, harness.ROUNDS))
    with Session() as s:
        s.ask("ALTER TABLE message RESET (parallel_workers)")
    piece.figures("rows/s", got)
    piece.ratio("2 workers / 1 worker", got["2 workers, leader collects"], got["1 worker, leader collects"], 1.85)
    piece.ratio("1 worker and the leader / no workers", got["1 worker and the leader"], got["no workers"])
    return piece.end()
