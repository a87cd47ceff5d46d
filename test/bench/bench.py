"""`make bench`: run the pieces that BENCH names in the cluster that bench.sh has started; write results.json."""
import importlib
import json
import os
import subprocess
import sys
import time

import harness
from data import Data

PIECES = ("s", "w", "latency", "cold", "workers", "connections", "curves", "cancel", "examples", "train")


def main():
    wanted = os.environ.get("BENCH", "").split() or PIECES
    unknown = [p for p in wanted if p not in PIECES]
    if unknown:
        sys.exit(f"BENCH: no piece \"{unknown[0]}\" (there are: {' '.join(PIECES)})")
    info = {"date": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()), "commit": harness.commit(),
            "machine": harness.machine(), "rows": harness.ROWS, "rounds": harness.ROUNDS, "w_rows": harness.W_ROWS,
            "peers": {p: harness.peer_version(p)[0] for p in ("ort", "torch", "llama")}, "pieces": {}}
    m = info["machine"]
    print(f"commit {info['commit']}, {info['date']}\n{m.get('cpu', 'unknown CPU')}, {m['cores']} cores, "
          f"{' '.join(m.get('int8', []))}; {m['memory_kb'] // 1024} MB")
    if m["others_share"] > 0.05:
        print(f"NOISY: others use {100 * m['others_share']:.0f} % of the CPUs; ratios are rounds' medians all the same, "
              "figures are lower bounds")
    data = Data()
    info["messages"] = data.source
    print(f"messages: {data.rows:,}, half English ({data.tokens_en:.1f} tokens), half Chinese; {data.source}")
    print("figures: median (min - max) of the rounds, in which all sides took turns")
    failed = False
    for name in wanted:
        try:
            info["pieces"][name] = importlib.import_module(name).run(data)
        except (RuntimeError, OSError, subprocess.SubprocessError) as e:
            failed = True
            info["pieces"][name] = {"failed": str(e)}
            print(f"  {name} FAILED: {e}", flush=True)
        with open(f"{harness.OUT}/results.json.new", "w", encoding="utf8") as f:
            json.dump(info, f, indent=1, ensure_ascii=False)
        os.replace(f"{harness.OUT}/results.json.new", f"{harness.OUT}/results.json")
    print(f"\nwritten: {os.path.relpath(harness.OUT, harness.TOP)}/results.json")
    sys.exit(failed)


if __name__ == "__main__":
    main()
