"""cancel: from pg_cancel_backend() in one connection to the error in another that is in the middle of its work."""
import time

import harness
from harness import INTENTS, Session

REPEATS = 5


def cancel(statement, after=0.3):
    """A case: milliseconds from asking for the cancellation, so many seconds after its begin, to the error. The
    statement must be one that lasts."""
    def run(_):
        with Session() as boss:
            victim = Session("max_parallel_workers_per_gather = 0")
            pid = victim.ask("SELECT pg_backend_pid()")[0]
            victim.start(statement)
            # It must have been at work for a while: cancelling its start would flatter.
            while boss.ask("SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND "
                           f"clock_timestamp() - query_start > '{after} s' AND pid = {pid}") != ["1"]:
                if victim.psql.poll() is not None:
                    victim.finish()
                time.sleep(0.01)
            begin = time.perf_counter()
            boss.ask(f"SELECT pg_cancel_backend({pid})")
            try:
                victim.finish()
            except RuntimeError as e:
                if "canceling statement" not in str(e):
                    raise
                return (time.perf_counter() - begin) * 1e3
            finally:
                victim.close()
        raise RuntimeError("the statement ended before it was cancelled")
    return run


def run(data):
    base = data.with_base()
    piece = harness.Piece("cancel", "from pg_cancel_backend to the error, through psql")
    intents = harness.array(INTENTS)
    # Each message made another text by a number, so that there is enough to do whatever the number of messages.
    lasting = "(SELECT n AS id, msg || ' ' || n AS msg FROM message, generate_series(1, 1000) n)"
    many = (f"SELECT cardinality(fsi_classify_many(array_agg(msg), {intents})) FROM "
            f"(SELECT * FROM {lasting} l LIMIT 50000) m")
    read = ("SELECT fsi_classify('x', {}, jsonb_build_object('examples', fsi_examples(msg, 'refund'))) FROM "
            f"(SELECT * FROM {lasting} l LIMIT 50000) m").format(intents)
    # A text that depends on a row: a constant would be tokenised, and copied, by the planner.
    tokens = ("SELECT cardinality(fsi_tokens(repeat(left(msg, 0) || 'where is my parcel and what is the cost ', 6000000))) "
              "FROM message LIMIT 1")
    base_scan = (f"SELECT count(fsi_classify(msg || n, {base.intents}, {base.options(scoring='sequence')})) "
                 "FROM w_message, generate_series(1, 100) n")
    base_many = (f"SELECT cardinality(fsi_classify_many(array_agg(msg), {base.intents}, {base.options(scoring='sequence')})) "
                 "FROM w_message")
    train = ("CALL fsi_train('canceled', 'SELECT msg AS text, id % 5 AS intent FROM message', "
             "'{\"freeze\": false, \"restart\": true, \"num_train_epochs\": 1000}')")
    base_train = ("CALL fsi_train('canceled base', 'SELECT msg AS prompt, id AS response FROM w_message', "
                  "'{\"model\": \"base\", \"restart\": true, \"eval_split\": 0}')")
    got = harness.rounds({
        "shipped model, fsi_classify over rows": cancel(f"SELECT count(fsi_classify(msg, {intents})) FROM {lasting} m"),
        "shipped model, fsi_classify_many of 50,000": cancel(many),
        "shipped model, reading 50,000 examples": cancel(read),
        "shipped model, fsi_tokens of 240 MB": cancel(tokens),
        "shipped model, the same after 2 s": cancel(tokens, 2),
        "base shape, fsi_classify over rows": cancel(base_scan),
        "base shape, fsi_classify_many of 2,048": cancel(base_many),
        "shipped model, fsi_train of the whole": cancel(train, 3),
        "base shape, fsi_train": cancel(base_train, 8),
    }, REPEATS)
    piece.figures("ms", got)
    return piece.end()
