"""examples: what 5,000 examples cost: the first row, which reads them all, and each row after it."""
import harness
from harness import INTENTS, Session

EXAMPLES = 5000
TURNS = min(3, harness.ROUNDS)
ALONE = ("max_parallel_workers_per_gather = 0",)


def run(data):
    count = min(EXAMPLES, data.rows // 2)
    rows = max(50, min(1000, harness.ROWS // 20))
    piece = harness.Piece("examples", f"{count:,} examples, 20 intents, shipped model; {rows} rows")
    intents = harness.array(INTENTS)
    with Session() as s:
        s.ask("CREATE TABLE labelled AS SELECT jsonb_build_object('examples', fsi_examples(msg, "
              f"({intents})[1 + id % 20])) AS options FROM message WHERE id > {data.rows - count}")
    options = "(SELECT options FROM labelled)"
    source = data.source_of(1, rows)
    first, none = [], []
    cost = {"fsi_classify": [], "fsi_classify_many": []}
    # A connection each: it would know the messages of the statement before.
    for _ in range(TURNS):
        with Session(*ALONE) as s:
            s.ask(f"SELECT fsi_classify('warm', {intents})")
            none.append(s.seconds(harness.scan(source, intents)) * 1e3 / rows)
        for form in cost:
            with Session(*ALONE) as s:
                s.ask(f"SELECT fsi_classify('warm', {intents})")
                first.append(s.seconds(f"SELECT fsi_classify('warm', {intents}, {options})") * 1e3)
                cost[form].append(s.seconds(harness.scan(source, intents, options, form == "fsi_classify_many")) * 1e3 / rows)
    piece.figure("first call, which reads the examples", "ms", first)
    piece.figure("that, an example", "ms", [x / count for x in first])
    piece.figure("a row without examples, fsi_classify", "ms", none)
    for form, values in cost.items():
        piece.figure(f"a row with them, {form}", "ms", values)
    piece.ratio("a row with them / without, fsi_classify", cost["fsi_classify"], none)
    return piece.end()
