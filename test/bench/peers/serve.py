"""The peers' side of the bench's protocol: a request a line on standard input, a JSON object a line as its answer."""
import json
import sys
import time


def timed(f, *args):
    """(seconds, what f returned)."""
    begin = time.perf_counter()
    out = f(*args)
    return time.perf_counter() - begin, out


def fastest(candidates, seconds):
    """The candidate with the least seconds(candidate)."""
    return min(candidates, key=seconds)


def serve(info, commands):
    """Say that we are ready, then answer `command argument…` lines until standard input ends."""
    print(json.dumps(info), flush=True)
    for line in sys.stdin:
        command, *args = line.split()
        print(json.dumps(commands[command](*map(int, args))), flush=True)
