"""What the pieces of `make bench` share: SQL sessions, peers, interleaved rounds, medians, the table, results.json."""
import json
import os
import re
import shutil
import statistics
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(TOP, os.environ.get("BUILD", "build"))
OUT = os.path.join(BUILD, "bench")
PEERS = os.path.join(OUT, "peers")
PGBIN = os.environ.get("FSI_PGBIN", "")
TMP = os.environ.get("FSI_TMP", "/tmp")
ROWS = int(os.environ.get("BENCH_ROWS", 20000))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", 5))
W_ROWS = int(os.environ.get("BENCH_W_ROWS", max(8, min(64, ROWS // 50))))
SHARED = os.environ.get("FSI_SHARED", "")

INTENTS = ["refund", "track order", "cancel order", "change address", "invoice", "log in", "damaged item",
           "discount code", "opening hours", "wrong item", "late delivery", "payment failed", "change password",
           "delete account", "talk to a person", "product question", "warranty", "gift card", "newsletter", "praise"]


def quote(text):
    return "'" + text.replace("'", "''") + "'"


def array(texts):
    return "ARRAY[" + ",".join(map(quote, texts)) + "]"


# ---------------------------------------------------------------- our side: SQL through psql

class Session:
    """One connection. start() sends statements, finish() waits for their rows; two sessions so run at once."""
    END = "--end of answer--"

    def __init__(self, *settings, options=""):
        env = dict(os.environ, PGOPTIONS=f"-c client_min_messages=error {options}".strip())
        self.errors = open(os.path.join(TMP, f"psql.{time.monotonic_ns()}"), "w+", encoding="utf8")
        self.psql = subprocess.Popen([os.path.join(PGBIN, "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, env=env,
                                     encoding="utf8")
        for s in settings:
            self.ask(f"SET {s}")

    def start(self, *statements):
        for s in statements:
            self.psql.stdin.write(s + ("\n" if s.startswith("\\") else ";\n"))
        self.psql.stdin.write(f"\\echo {self.END}\n")
        self.psql.stdin.flush()

    def finish(self):
        lines = []
        for line in self.psql.stdout:
            if line.rstrip("\n") == self.END:
                return lines
            lines.append(line.rstrip("\n"))
        self.errors.seek(0)
        raise RuntimeError(self.errors.read().strip() or "psql ended")

    def ask(self, *statements):
        self.start(*statements)
        return self.finish()

    def seconds(self, *statements):
        begin = time.perf_counter()
        self.ask(*statements)
        return time.perf_counter() - begin

    def times(self, statements):
        """Milliseconds of each statement as psql counts them."""
        lines = self.ask("\\timing on", *statements, "\\timing off")
        return [float(x.split()[1]) for x in lines if x.startswith("Time: ")]

    def close(self):
        self.psql.stdin.close()
        self.psql.wait()
        self.psql.stdout.close()
        self.errors.close()
        os.unlink(self.errors.name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def wall(sessions, statements):
    """Seconds until every session has done its statement, all started at once."""
    begin = time.perf_counter()
    for session, s in zip(sessions, statements):
        session.start(s)
    for session in sessions:
        session.finish()
    return time.perf_counter() - begin


def has_batch_node():
    """Whether this build batches fsi_classify by itself."""
    with Session() as s:
        s.ask("SELECT fsi_version()")
        return s.ask("SELECT count(*) FROM pg_settings WHERE name = 'fsi_intent.enable_batch'") == ["1"]


def scan(source, intents, options=None, many=False):
    """A statement that classifies a relation of (id, msg) and keeps the answers in a table that goes with it."""
    args = intents + (f", {options}" if options else "")
    query = f"SELECT id, fsi_classify(msg, {args}) AS intent FROM {source} m"
    if many:
        query = (f"SELECT unnest(ids) AS id, unnest(fsi_classify_many(msgs, {args})) AS intent FROM "
                 f"(SELECT array_agg(id) AS ids, array_agg(msg) AS msgs FROM {source} m GROUP BY id / 1000) c")
    return f"BEGIN; CREATE TEMP TABLE answer ON COMMIT DROP AS {query}; COMMIT"


def int8_peak(processes):
    """GOP/s of this level's exact multiply-adds on registers alone, summed over processes that run at once; 0: unknown."""
    runs = [subprocess.Popen([f"{OUT}/bench_gemm", "auto", "peak"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             encoding="utf8") for _ in range(processes)]
    found = [re.search("registers alone: ([0-9.]+) GOP/s", r.communicate()[0]) for r in runs]
    return sum(float(m.group(1)) for m in found) if all(found) else 0.0


# ---------------------------------------------------------------- peers

class Peer:
    """A process that answers requests, one a line, with one JSON object each: {"seconds": …, "rows": …}."""

    def __init__(self, argv, threads):
        env = dict(os.environ, OMP_NUM_THREADS=str(threads), RAYON_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads),
                   TOKENIZERS_PARALLELISM="true" if threads > 1 else "false")
        self.errors = open(os.path.join(TMP, f"peer.{time.monotonic_ns()}"), "w+", encoding="utf8")
        self.process = subprocess.Popen(list(map(str, argv)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, env=env, encoding="utf8")
        self.info = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            last = self.errors.read().strip().splitlines()[-1:]
            raise RuntimeError(last[0] if last else "the process ended")
        return json.loads(line)

    def ask(self, request):
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()


def peer_version(peer):
    """(version, None) of a peer that is installed, (None, reason) of one that is not."""
    if peer not in os.environ.get("PEERS", "").split():
        return None, "not asked for (PEERS)"
    try:
        with open(f"{PEERS}/{peer}.ready", encoding="utf8") as f:
            return f.read().strip(), None
    except OSError:
        try:
            with open(f"{PEERS}/{peer}.failed", encoding="utf8") as f:
                return None, "could not be installed: " + f.read().strip()
        except OSError:
            return None, "not installed"


PYTHON = os.path.join(PEERS, "venv", "bin", "python")
KINDS = {"ort": ["ort-int8", "ort-fp32"], "torch": ["torch"]}
TITLES = {"ort-int8": "ONNX Runtime int8", "ort-fp32": "ONNX Runtime fp32", "torch": "PyTorch fp32"}


def open_peers(piece, commands):
    """Start peers: commands is [(peer, title, threads, argv)]; {title: Peer}. What does not start is said, not guessed."""
    out = {}
    for peer, title, threads, argv in commands:
        name = f"{title}, {threads} thread" + ("s" if threads > 1 else "")
        version, reason = peer_version(peer)
        try:
            if version is None:
                raise RuntimeError(reason)
            out[name] = Peer(argv, threads)
        except (RuntimeError, OSError, ValueError) as e:
            piece.missing(name, str(e))
    return out


def python_peers(script, *args, threads=(2, 1)):
    """The ONNX Runtime and PyTorch peers of one script, in the form open_peers takes."""
    return [(peer, TITLES[kind], t, [PYTHON, f"{HERE}/peers/{script}", kind, t, PEERS, *args])
            for t in threads for peer, kinds in KINDS.items() for kind in kinds]


# ---------------------------------------------------------------- rounds and figures

def rounds(cases, n=None):
    """cases {name: f(round) -> figure}, run A B C A B C …: {name: [figure of each round]}."""
    out = {name: [] for name in cases}
    for r in range(n or ROUNDS):
        for name, f in cases.items():
            out[name].append(f(r))
    return out


def short(x):
    """Three digits or so, as a person would write them."""
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.1f}" if abs(x) >= 10 else f"{x:.2f}"


class Piece:
    """The figures of one piece: printed as they come, kept for results.json."""

    def __init__(self, name, title):
        self.name, self.title, self.begin, self.stat = name, title, time.time(), cpu_ticks()
        self.data = {"title": title, "figures": [], "ratios": [], "not_measured": [], "notes": []}
        print(f"\n{name}: {title}", flush=True)

    def figure(self, name, unit, values):
        values = list(values)
        entry = {"name": name, "unit": unit, "median": statistics.median(values), "min": min(values),
                 "max": max(values), "values": values}
        self.data["figures"].append(entry)
        print(f"  {name:52} {short(entry['median']):>9} {unit:7} ({short(entry['min'])} - {short(entry['max'])})",
              flush=True)

    def figures(self, unit, measured):
        for name, values in measured.items():
            self.figure(name, unit, values)

    def ratio(self, name, a, b, target=None, at_most=False):
        """The median of the rounds' ratios a/b; target is what the project wants it to be at least (or at most)."""
        values = [x / y for x, y in zip(a, b)]
        entry = {"name": name, "median": statistics.median(values), "min": min(values), "max": max(values),
                 "values": values, "target": target, "at_most": at_most}
        self.data["ratios"].append(entry)
        want = "" if target is None else f"  wanted: at {'most' if at_most else 'least'} {target:g}"
        print(f"  ratio {name:46} {entry['median']:>9.2f} x       ({entry['min']:.2f} - {entry['max']:.2f}){want}",
              flush=True)

    def missing(self, name, reason):
        reason = " ".join(reason.split())[:300]
        self.data["not_measured"].append({"name": name, "reason": reason})
        print(f"  {name:52} not measured: {reason}", flush=True)

    def note(self, text):
        self.data["notes"].append(text)
        print(f"  {text}", flush=True)

    def end(self):
        ticks = [b - a for a, b in zip(self.stat, cpu_ticks())]
        self.data["seconds"] = time.time() - self.begin
        self.data["steal_share"] = ticks[7] / max(1, sum(ticks[:8]))
        print(f"  ({self.data['seconds']:.0f} s; {100 * self.data['steal_share']:.1f} % of the CPU time was stolen by the host)",
              flush=True)
        return self.data


# ---------------------------------------------------------------- the machine

def cpu_ticks():
    with open("/proc/stat", encoding="ascii") as f:
        return list(map(int, f.readline().split()[1:9]))


def others_share(seconds=1.0):
    """Share of the CPUs that is busy while this benchmark does nothing: noise in everything that follows."""
    a = cpu_ticks()
    time.sleep(seconds)
    d = [y - x for x, y in zip(a, cpu_ticks())]
    return 1 - (d[3] + d[4]) / max(1, sum(d))


def machine():
    info = {"cores": os.cpu_count(), "others_share": others_share()}
    with open("/proc/cpuinfo", encoding="utf8") as f:
        for line in f:
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                info["cpu"] = value.strip()
            if key.strip() == "flags":
                info["int8"] = [x for x in ("avx2", "avx_vnni", "avx512_vnni") if x in value.split()]
    with open("/proc/meminfo", encoding="utf8") as f:
        info["memory_kb"] = int(f.readline().split()[1])
    return info


def commit():
    if shutil.which("git") is None:
        return "unknown"
    git = ["git", "-c", f"safe.directory={TOP}", "-C", TOP]
    head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          encoding="utf8")
    if head.returncode:
        return "unknown"
    dirty = subprocess.run([*git, "status", "--porcelain"], stdout=subprocess.PIPE, encoding="utf8").stdout.strip()
    return head.stdout.strip() + ("+changes" if dirty else "")
