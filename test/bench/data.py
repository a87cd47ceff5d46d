"""The tables of the throw-away cluster: messages of workload S, and model, labels, prompt and messages of workload W."""
import json
import os
import random
import subprocess

import harness
import messages
from harness import INTENTS, ROUNDS, ROWS, TMP, W_ROWS, Session, quote

POSITIONS = 1024
BASE_SHAPE = ("12", "12", "768", "21128", str(POSITIONS), "1")  # layers, heads, width, vocabulary, positions, seed
W_MESSAGE, W_PREFIX, W_LABELS, LABEL_TOKENS = 24, 200, 8, 4
HAN = 0x4e00


def vocabulary():
    """A BERT vocabulary of the published size out of nothing but Unicode's order: every Han character is one token."""
    words = ["[PAD]", *(f"[unused{i}]" for i in range(1, 100)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += [chr(c) for c in (*range(33, 65), *range(91, 127))]
    words += ["text", "intent"]  # what the built-in prompts are made of
    words += ["##" + chr(c) for c in (*range(97, 123), *range(48, 58))]
    return words + [chr(HAN + i) for i in range(21128 - len(words))]


def han(r, n):
    return "".join(chr(HAN + r.randrange(20000)) for _ in range(n))


def make_base_model():
    folder = os.path.join(TMP, "base")
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/vocab.txt", "w", encoding="utf8") as f:
        f.writelines(w + "\n" for w in vocabulary())
    with open(f"{folder}/tokenizer_config.json", "w", encoding="utf8") as f:
        f.write('{"do_lower_case": true}')
    path = os.path.join(TMP, "base.fsi")
    subprocess.run([os.path.join(harness.BUILD, "tools", "fsi_pack"), "--random", *BASE_SHAPE, folder, path], check=True,
                   stdout=subprocess.DEVNULL)
    os.chmod(path, 0o644)
    return path


def copy_in(session, table, rows):
    """COPY rows of plain values."""
    def field(x):
        return str(x).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    session.psql.stdin.write(f"COPY {table} FROM STDIN;\n")
    for row in rows:
        session.psql.stdin.write("\t".join(map(field, row)) + "\n")
    session.psql.stdin.write("\\.\n")
    session.ask()


class Data:
    """What the pieces ask about. slice(r) is the id range of round r's messages, both languages in turn."""

    def __init__(self):
        self.texts, self.source = messages.messages(harness.SHARED, ROWS)
        self.rows = len(self.texts)
        self.per_slice = max(2, self.rows // ROUNDS)
        with Session() as s:
            s.ask("CREATE EXTENSION fsi_intent", "CREATE TABLE message (id int PRIMARY KEY, lang text, msg text)")
            copy_in(s, "message", ((i + 1, lang, text) for i, (lang, text) in enumerate(self.texts)))
            s.ask("VACUUM ANALYZE message")
            self.tokens, self.tokens_en = (float(x) for x in s.ask(
                "SELECT avg(cardinality(fsi_tokens(msg))) FROM message",
                "SELECT avg(cardinality(fsi_tokens(msg))) FROM message WHERE lang = 'en'"))
        self.slices = os.path.join(TMP, "slices.json")
        with open(self.slices, "w", encoding="utf8") as f:
            json.dump({"intents": INTENTS, "slices": [self.english(r) for r in range(ROUNDS)]}, f)
        self.base = None

    def ids(self, r):
        first = 1 + r % ROUNDS * self.per_slice
        return first, first + self.per_slice - 1

    def english(self, r):
        a, b = self.ids(r)
        return [text for lang, text in self.texts[a - 1:b] if lang == "en"]

    def source_of(self, a, b, lang=None):
        return f"(SELECT id, msg FROM message WHERE id BETWEEN {a} AND {b}{lang and ' AND lang = ' + quote(lang) or ''})"

    def with_base(self):
        """Import the model of random weights, once, and write workload W: labels, options and the table w_message."""
        if self.base:
            return self.base
        r = random.Random(messages.SEED)
        path = make_base_model()
        begins = [han(r, 1) for _ in range(W_LABELS // 2)]
        # The token that ends an answer is each label's last: scored, never read, like the last of a peer's four.
        labels = [begins[i // 2] + han(r, LABEL_TOKENS - 2) for i in range(W_LABELS)]
        examples = [{"text": han(r, 8), "intent": x} for x in labels]
        options = {"model": "base", "examples": examples, "instructions": "",
                   "template": "{instructions}{intents}\n{examples}\n{text}"}
        with Session() as s:
            s.ask(f"SELECT fsi_import_model('base', {quote(path)})", "CREATE TABLE w_message (id int PRIMARY KEY, msg text)")
            copy_in(s, "w_message", ((i + 1, han(r, W_MESSAGE - 1)) for i in range(2048)))
            s.ask("VACUUM ANALYZE w_message")
            self.base = Base(labels, options)
            # As many examples as leave the prefix below its length, instructions for the rest. Its first token is the
            # one that begins a prompt; the one that ends a prompt counts as the message's last.
            while self.base.prefix_tokens(s) >= W_PREFIX and options["examples"]:
                options["examples"].pop()
            options["instructions"] = han(r, W_PREFIX - 1 - self.base.prefix_tokens(s))
            self.base.prefix = 1 + self.base.prefix_tokens(s)
            self.base.warm(s)
        return self.base


class Base:
    """Workload W as arguments of SQL."""

    def __init__(self, labels, options):
        self.labels, self.intents, self.plain = labels, harness.array(labels), options

    def options(self, **more):
        return quote(json.dumps({**self.plain, **more}, ensure_ascii=False)) + "::jsonb"

    def prefix_tokens(self, s):
        return int(s.ask(f"SELECT cardinality(fsi_tokens(fsi_prompt('', {self.intents}, {self.options()}), 'base'))")[0]) \
            - int(s.ask("SELECT cardinality(fsi_tokens('', 'base'))")[0])

    def warm(self, s):
        s.ask(f"SELECT fsi_classify('', {self.intents}, {self.options()})")

    def rows(self, r, part=0, parts=1):
        """A relation with part `part` of round r's messages."""
        n = W_ROWS // parts
        first = 1 + (r * W_ROWS + part * n) % (2048 - W_ROWS)
        return f"(SELECT id, msg FROM w_message WHERE id BETWEEN {first} AND {first + n - 1})"
