"""The training loop: named phases of a fixed number of steps each, resumable at any step.

`plan.json` in the work folder lists the phases; `make.py --extend` appends to it. A phase starts from the end of the
one before with a fresh optimiser, warms up, and lowers its rate linearly to (nearly) zero. With `"from": NAME` it starts
from the end of phase NAME instead, with `"mean": NAME+NAME…` from the mean of its start and the ends of those phases; ends
are kept as `end-NAME.pt`. A phase of so many `minutes` instead of steps takes what steps fit: for a machine lent by the
minute whose speed is not known beforehand.
"""
import json
import os
import signal
import time

import torch

import batches
import checkpoint
import episodes
import losses
from readout import Head
from student import Student

SEED = 1
PLAN = [{"name": "a", "kind": "distil", "steps": 2600, "rate": 4e-4},
        {"name": "b", "kind": "episodes", "steps": 2100, "rate": 3e-4},
        {"name": "c", "kind": "episodes", "steps": 150, "rate": 4e-5, "rounding": True}]
SAVE_SECONDS, REPORT_STEPS = 240, 50

TASKS = {"en": losses.distil_english, "zh": losses.distil_chinese, "long": losses.distil_long, "words": losses.words, "asked": losses.asked,
         "parallel": losses.parallel, "written": losses.written, "pairs": losses.paraphrases, "intents": losses.intents,
         "named": losses.named, "named_chinese": losses.named_chinese}  # beside episodes
# what one step does, by kind of phase: (share, name); shares add up to one
MIXES = {
    "distil": [(0.28, "en"), (0.20, "zh"), (0.20, "parallel"), (0.14, "pairs"), (0.16, "intents"), (0.02, "long")],
    "episodes": [(0.48, "episodes"), (0.26, "parallel"), (0.12, "en"), (0.07, "zh"), (0.06, "pairs"), (0.01, "long")],
    "chinese": [(0.50, "episodes"), (0.28, "parallel"), (0.07, "en"), (0.02, "zh"), (0.12, "pairs"), (0.01, "long")],
    "written": [(0.46, "episodes"), (0.12, "parallel"), (0.14, "written"), (0.06, "intents"), (0.12, "en"), (0.04, "zh"),
                (0.05, "pairs"), (0.01, "long")],
    "names": [(0.37, "episodes"), (0.12, "parallel"), (0.12, "written"), (0.05, "intents"), (0.15, "en"), (0.03, "zh"),
              (0.05, "pairs"), (0.10, "words"), (0.01, "long")],
    "english": [(0.34, "episodes"), (0.08, "parallel"), (0.04, "written"), (0.06, "intents"), (0.27, "en"), (0.02, "zh"),
                (0.08, "pairs"), (0.10, "words"), (0.01, "long")],
    "large": [(0.12, "episodes"), (0.12, "parallel"), (0.05, "written"), (0.05, "intents"), (0.28, "en"), (0.12, "zh"),
              (0.02, "pairs"), (0.10, "words"), (0.12, "asked"), (0.02, "long")],
    "broad": [(0.14, "episodes"), (0.10, "parallel"), (0.06, "written"), (0.05, "intents"), (0.25, "en"), (0.10, "zh"), (0.02, "pairs"),
              (0.08, "words"), (0.08, "asked"), (0.10, "named"), (0.02, "long")],
    "jargon": [(0.14, "episodes"), (0.24, "named"), (0.12, "written"), (0.10, "parallel"), (0.05, "intents"), (0.15, "en"), (0.07, "zh"),
               (0.03, "pairs"), (0.04, "words"), (0.05, "asked"), (0.01, "long")],
    "bilingual": [(0.14, "episodes"), (0.16, "named"), (0.14, "named_chinese"), (0.10, "written"), (0.10, "parallel"), (0.05, "intents"),
                  (0.13, "en"), (0.05, "zh"), (0.03, "pairs"), (0.04, "words"), (0.05, "asked"), (0.01, "long")],
    "shown": [(0.36, "episodes"), (0.10, "named"), (0.07, "written"), (0.10, "parallel"), (0.05, "intents"), (0.16, "en"), (0.06, "zh"),
              (0.04, "pairs"), (0.02, "words"), (0.03, "asked"), (0.01, "long")],
    "shown_bilingual": [(0.28, "episodes"), (0.11, "named"), (0.12, "named_chinese"), (0.08, "written"), (0.10, "parallel"), (0.05, "intents"),
                        (0.12, "en"), (0.05, "zh"), (0.03, "pairs"), (0.02, "words"), (0.03, "asked"), (0.01, "long")],
}
# share of Chinese sets among episodes, by kind
CHINESE = {"distil": 0.5, "episodes": 0.55, "chinese": 0.75, "written": 0.6, "names": 0.55, "english": 0.2, "large": 0.5, "broad": 0.5, "jargon": 0.5, "bilingual": 0.5,
           "shown": 0.5, "shown_bilingual": 0.5}
OWN = {"written": 0.45, "names": 0.4, "english": 0.35, "large": 0.4, "broad": 0.4, "jargon": 0.45, "bilingual": 0.45,
       "shown": 0.35, "shown_bilingual": 0.45}  # share of sets that we wrote ourselves, by kind
WAYS = {**dict.fromkeys(("large", "broad", "jargon", "bilingual"), (16, 16, 64)), "shown": (8, 16, 32), "shown_bilingual": (8, 16, 32)}  # the most candidates of an episode is one of these; (16,) for other kinds
CONTRASTED = {"large": 64, "broad": 64, "jargon": 32, "bilingual": 32, "shown": 32, "shown_bilingual": 32}  # intents of a set that are contrasted; 24 for other kinds
MISTYPED = {"broad": 0.3, "jargon": 0.35, "bilingual": 0.35, "shown": 0.3, "shown_bilingual": 0.3}  # share of messages that are misspelt, by kind
SENTENCES = dict.fromkeys(("large", "broad", "jargon", "bilingual", "shown", "shown_bilingual"), 48)  # of a batch for each episode; 24 for other kinds
SHOTS = dict.fromkeys(("shown", "shown_bilingual"), (0, 1, 1, 2, 3, 5))  # examples of a candidate of an episode: one of these; batches.Source.shots for other kinds
QUERIES = dict.fromkeys(("shown", "shown_bilingual"), 12)  # the most messages of an episode; batches.Source.queries for other kinds
DISCRIMINANT = dict.fromkeys(("shown", "shown_bilingual"), 1.0)  # its share in an episode's logits; none for other kinds


def step_loss(kind, embed, head, source, rng):
    """One step's loss, the name of what was done and its figure for the log."""
    r, chosen = rng.random(), None
    for share, chosen in MIXES[kind]:
        r -= share
        if r < 0:
            break
    if chosen == "episodes":
        loss, figure = episodes.loss(embed, head, source, rng, max(1, source.batch // SENTENCES.get(kind, 24)))
    else:
        loss, figure = TASKS[chosen](embed, source, rng)
    return loss, chosen, figure


def rate(phase, step, minutes):
    """The learning rate of a step, or after so many minutes of a phase that is told in minutes."""
    if "minutes" in phase:
        done = minutes / phase["minutes"]
        warm = min(1.0, (step + 1) / 100, done / 0.03)
    else:
        done = step / phase["steps"]
        warm = min(1.0, (step + 1) / min(100, max(1, phase["steps"] // 10)))
    return phase["rate"] * warm * max(0.02, 1 - done)


def optimiser(student, head):
    named = list(student.parameters()) + list(head.parameters())
    return torch.optim.AdamW([{"params": [p for p in named if p.dim() > 1], "weight_decay": 0.01},
                              {"params": [p for p in named if p.dim() < 2], "weight_decay": 0.0}],
                             lr=0.0, betas=(0.9, 0.98), fused=True)


class Stop:
    """Set by SIGTERM or SIGINT: the loop writes a checkpoint after the step in hand and ends. What the signals did before is back after it."""

    def __init__(self):
        self.asked = False
        self.before = {s: signal.signal(s, self) for s in (signal.SIGTERM, signal.SIGINT)}

    def end(self):
        for s, handler in self.before.items():
            signal.signal(s, handler)

    def __call__(self, *_):
        self.asked = True


class Trainer:
    def __init__(self, work, tokenizer, source, start, plan, device="cpu", mirror=None, half=False, max_steps=None,
                 max_minutes=None):
        self.work, self.source, self.plan, self.device, self.mirror = work, source, plan, device, mirror
        self.left = max_steps
        self.until = time.time() + 60 * max_minutes if max_minutes else float("inf")
        self.path = f"{work}/checkpoint.pt"
        self.phase, self.step, self.minutes, self.optimiser_state, c = 0, 0, 0.0, None, None
        if os.path.exists(self.path):
            c = checkpoint.load(self.path, device)
            self.phase, self.step, self.minutes = c["phase"], c["step"], c.get("minutes", 0.0)
            self.optimiser_state = c["optimiser"]
        self.student = Student.of(c["student"] if c else start()).to(device)
        source.width = self.student.wte.weight.shape[1]
        self.head = (Head.of(c["head"]) if c else Head(source.width)).to(device)
        self.embed = batches.Embedder(self.student, tokenizer, device, chunk=max(64, source.batch // 4), bank=source.bank,
                                      half=half)

    def log(self, text):
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}"
        print(line, flush=True)
        with open(f"{self.work}/train.log", "a", encoding="utf8") as f:
            f.write(line + "\n")

    def save(self, opt):
        checkpoint.save(self.path, {"phase": self.phase, "step": self.step, "minutes": self.minutes, "student": self.student.state_dict(),
                                    "head": self.head.state_dict(), "optimiser": opt and opt.state_dict()}, self.mirror)
        if self.mirror:
            for name in ("train.log", "tokenizer.json", "plan.json"):
                if os.path.exists(f"{self.work}/{name}"):
                    checkpoint.copy(f"{self.work}/{name}", self.mirror)

    def weights(self):
        return {"student": self.student.state_dict(), "head": self.head.state_dict()}

    def end(self, name):
        return checkpoint.load(checkpoint.end_path(self.work, name), self.device)

    def take(self, weights):
        self.student.load_state_dict(weights["student"])
        self.head.load_state_dict(weights["head"])

    def run(self):
        """Train what is left of the plan. Returns false when told to stop before its end."""
        stop = Stop()
        try:
            return self.run_plan(stop)
        finally:
            stop.end()

    def run_plan(self, stop):
        while self.phase < len(self.plan):
            phase = self.plan[self.phase]
            if self.step == 0 and "from" in phase:
                self.take(self.end(phase["from"]))
            if self.step == 0 and "mean" in phase:
                self.take(checkpoint.mean([self.weights()] + [self.end(n) for n in phase["mean"].split("+")]))
            if not self.run_phase(phase, stop):
                return False
            checkpoint.save(checkpoint.end_path(self.work, phase["name"]), self.weights(), self.mirror)
            phase["batch"] = self.source.batch  # for the model card, as are steps and sentences
            if "minutes" in phase:
                phase.update(steps=self.step, sentences={lang: len(t) for lang, t in self.source.short.items()})
            write_plan(self.work, self.plan)
            self.phase, self.step, self.minutes, self.optimiser_state = self.phase + 1, 0, 0.0, None
            self.save(None)
        return True

    def run_phase(self, phase, stop):
        self.student.round(phase.get("rounding", False))
        opt = optimiser(self.student, self.head)
        if self.optimiser_state:
            opt.load_state_dict(self.optimiser_state)
        parameters = [p for g in opt.param_groups for p in g["params"]]
        self.source.chinese, self.source.own_share = CHINESE[phase["kind"]], OWN.get(phase["kind"], 0.0)
        self.source.mistyped = MISTYPED.get(phase["kind"], 0.0)
        self.source.favour(phase.get("favour"))
        self.source.shots = SHOTS.get(phase["kind"], batches.Source.shots)
        self.source.queries = QUERIES.get(phase["kind"], batches.Source.queries)
        self.source.discriminant = DISCRIMINANT.get(phase["kind"], batches.Source.discriminant)
        self.source.ways, self.source.contrasted = WAYS.get(phase["kind"], (16,)), CONTRASTED.get(phase["kind"], 24)
        self.log(f"phase {phase} from step {self.step}")
        figures, saved, began, first, before = {}, time.time(), time.time(), self.step, self.minutes
        while self.minutes < phase["minutes"] if "minutes" in phase else self.step < phase["steps"]:
            for g in opt.param_groups:
                g["lr"] = rate(phase, self.step, self.minutes)
            rng = batches.step_rng(SEED, phase["name"], self.step)
            loss, what, figure = step_loss(phase["kind"], self.embed, self.head, self.source, rng)
            opt.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_([p for p in parameters if p.grad is not None], 1.0)
            opt.step()
            self.step += 1
            self.minutes = before + (time.time() - began) / 60
            figures.setdefault(what, []).append(figure)
            if self.step % (10 * REPORT_STEPS if "minutes" in phase else REPORT_STEPS) == 0:
                each = (time.time() - began) / (self.step - first)
                shown = " ".join(f"{k} {float(sum(v) / len(v)):.3f}" for k, v in sorted(figures.items()))
                self.log(f"{phase['name']} {self.step}/{phase.get('steps', '…')} {each:.3g} s/step {shown} scale "
                         f"{self.head.log_scale.exp().item():.1f} other {self.head.other.item():.2f}")
                figures = {}
            if self.left is not None:
                self.left -= 1
            if stop.asked or self.left == 0 or time.time() > self.until:
                self.save(opt)
                self.log(f"stopped at step {self.step} of phase {phase['name']}")
                return False
            if time.time() - saved > SAVE_SECONDS:
                self.save(opt)
                saved = time.time()
        self.student.round(False)
        self.log(f"{phase['name']} took {self.step} steps and {self.minutes:.1f} minutes")
        return True


def write_plan(work, plan):
    path = f"{work}/plan.json"
    with open(path + ".new", "w", encoding="utf8") as f:
        json.dump(plan, f, indent=1)
    os.replace(path + ".new", path)


def load_plan(work, extend=()):
    """The work folder's plan; each of `extend` (NAME:KIND:STEPS:RATE[:rounding][:from=PHASE][:mean=PHASE+…][:favour=FILES],
    STEPS being a number or minutes like 4.5m) is appended unless its name is there."""
    path = f"{work}/plan.json"
    plan = PLAN
    if os.path.exists(path):
        with open(path, encoding="utf8") as f:
            plan = json.load(f)
    for text in extend:
        name, kind, steps, rate, *flags = text.split(":")
        given = dict(f.split("=", 1) for f in flags if "=" in f)
        names = [p["name"] for p in plan]
        meant = {n for flag, value in given.items() if flag != "favour" for n in value.split("+")}
        if kind not in MIXES or len(flags) - len(given) - ("rounding" in flags) or set(given) - {"from", "mean", "favour"} or meant - set(names):
            raise SystemExit(f"--extend {text}: kinds are {', '.join(MIXES)}; flags are rounding, from=PHASE, mean=PHASE+… and favour=FILES")
        if name not in names:
            long = {"minutes": float(steps[:-1])} if steps.endswith("m") else {"steps": int(steps)}
            plan = plan + [{"name": name, "kind": kind, **long, "rate": float(rate),
                            **({"rounding": True} if "rounding" in flags else {}),
                            **given}]
    write_plan(work, plan)
    return plan
