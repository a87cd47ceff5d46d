"""curves: time a row as one thing grows: candidates, examples, length of the message, rows of the statement.

Each point is the batched form on one connection that has met the question already, both models. Points of a curve are
measured in turns, so that a disturbed moment does not bend one of them.
"""
import itertools
import json
import random

import harness
from data import LABEL_TOKENS, POSITIONS, W_MESSAGE, Base, han
from harness import Session

CANDIDATES, EXAMPLES = (2, 5, 10, 20, 50, 100, 150), (0, 1, 5, 10, 20, 40)
LENGTHS, ROWS = (4, 8, 16, 32, 64, 128, 256, 400), (1, 10, 100, 1000, 10000)
BASE_ROWS = (1, 4, 16, 64)
POINT, BASE_POINT = max(16, min(200, harness.ROWS // 50)), max(2, min(8, harness.ROWS // 100))
TURNS = min(3, harness.ROUNDS)
VERBS = ("track", "cancel", "change", "return", "pay", "find", "report", "renew", "close", "open", "share", "check", "move")
THINGS = ("order", "invoice", "account", "address", "password", "subscription", "gift card", "parcel", "discount", "refund",
          "appointment", "insurance")
NAMES = [f"{v} {t}" for t, v in itertools.product(THINGS, VERBS)]


def point(rows, source, intents, options, many):
    """A case: milliseconds a row, of a statement on a warm connection."""
    def run(_):
        with Session("max_parallel_workers_per_gather = 0") as s:
            args = intents + (f", {options}" if options else "")
            s.ask(f"SELECT fsi_classify('warm', {args})")
            return s.seconds(harness.scan(source, intents, options, many)) * 1e3 / rows
    return run


def texts(s, length):
    """POINT distinct texts of up to `length` tokens of the shipped model, cut from joined messages at word ends."""
    joined = (f"SELECT id, (SELECT string_agg(msg, ' ') FROM message m WHERE m.lang = 'en' AND m.id BETWEEN s.id AND s.id + {4 * length})"
              f" AS text FROM message s WHERE s.lang = 'en' ORDER BY id LIMIT {POINT}")
    # A word has at least one token: no more of them than tokens are wanted need trying.
    s.ask(f"CREATE TABLE length_{length} AS SELECT j.id, best.text AS msg FROM ({joined}) j, LATERAL ("
          f"SELECT array_to_string((string_to_array(j.text, ' '))[1:n], ' ') AS text FROM generate_series({length}, 1, -1) n "
          f"WHERE cardinality(fsi_tokens(array_to_string((string_to_array(j.text, ' '))[1:n], ' '))) <= {length} LIMIT 1) best")
    return int(s.ask(f"SELECT count(*) FROM length_{length}")[0])


def shipped(data, many):
    piece = harness.Piece("curves, shipped", f"time a row, {POINT} rows a point")
    source = data.source_of(1, POINT)
    twenty = harness.array(harness.INTENTS)
    cases = {f"{n} candidates": point(POINT, source, harness.array(NAMES[:n]), None, many) for n in CANDIDATES}
    for n in EXAMPLES:
        examples = [{"text": text, "intent": harness.INTENTS[i % 20]} for i, (_, text) in enumerate(data.texts[-n:] if n else [])]
        cases[f"{n} examples"] = point(POINT, source, twenty, harness.quote(json.dumps({"examples": examples})) + "::jsonb",
                                       many)
    with Session() as s:
        for n in LENGTHS:
            count = texts(s, n)
            if count:
                cases[f"{n} tokens a message"] = point(count, f"length_{n}", twenty, None, many)
            else:
                piece.missing(f"{n} tokens a message", "no message is that short")
    for n in ROWS:
        if n <= data.rows:
            cases[f"{n} rows a statement"] = point(n, data.source_of(1, n), twenty, None, many)
    piece.figures("ms/row", harness.rounds(cases, TURNS))
    return piece.end()


def base_shape(data, many):
    base = data.with_base()
    piece = harness.Piece("curves, base shape", f"time a row of workload w, {BASE_POINT} rows a point")
    r = random.Random(7)
    source = f"(SELECT id, msg FROM w_message WHERE id <= {BASE_POINT})"
    asked = {}
    for n in CANDIDATES:
        asked[f"{n} candidates"] = Base([han(r, 4) for _ in range(n)], {**base.plain, "instructions": "", "examples": []})
    for n in EXAMPLES:
        examples = [{"text": han(r, 4), "intent": base.labels[i % len(base.labels)]} for i in range(n)]
        asked[f"{n} examples"] = Base(base.labels, {**base.plain, "instructions": "", "examples": examples})
    cases = {}
    with Session() as s:
        for name, question in asked.items():
            tokens = question.prefix_tokens(s)
            if tokens + W_MESSAGE + LABEL_TOKENS > POSITIONS:
                piece.missing(name, f"{tokens} tokens of prompt do not fit into the model's {POSITIONS}")
            else:
                cases[name] = point(BASE_POINT, source, question.intents, question.options(), many)
    with Session() as s:
        for n in LENGTHS:
            s.ask(f"CREATE TABLE w_length_{n} AS SELECT * FROM unnest("
                  f"{harness.array([han(r, n - 1) for _ in range(BASE_POINT)])}) WITH ORDINALITY u(msg, id)")
            cases[f"{n} tokens a message"] = point(BASE_POINT, f"w_length_{n}", base.intents, base.options(), many)
    for n in BASE_ROWS:
        if n <= 8 * BASE_POINT:
            cases[f"{n} rows a statement"] = point(n, f"(SELECT id, msg FROM w_message WHERE id <= {n})", base.intents,
                                                   base.options(), many)
    piece.note(f"messages of {W_MESSAGE} tokens unless the point says otherwise")
    piece.figures("ms/row", harness.rounds(cases, min(2, TURNS)))
    return piece.end()


def run(data):
    many = not harness.has_batch_node()
    return {"shipped": shipped(data, many), "base": base_shape(data, many)}
