"""A prompt model trained and exported by SQL, in transformers: equal logits, equal answers; its event files in TensorBoard.

Another training's steps, all rows each, against torch's AdamW and transformers' linear schedule: losses, norms, rates.

Prints TAP. trained.sh makes it in a throw-away cluster. TensorBoard's own reader is used where the package is installed.
"""
import glob
import json
import os
import subprocess
import sys
import tempfile

import torch
from transformers import AutoTokenizer, GPT2LMHeadModel, get_scheduler

import logits
from logits import compare, ok, ours, sequences

HERE = os.path.dirname(os.path.abspath(__file__))


def answers(model, tokenizer, path):
    """Greedy answers by transformers against those that the server gave."""
    with open(path) as f:
        rows = [json.loads(line) for line in f if line.strip()]
    right = 0
    for row in rows:
        ids = torch.tensor([row["ids"]])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=16, do_sample=False,
                             eos_token_id=tokenizer.sep_token_id, pad_token_id=tokenizer.pad_token_id)
        said = tokenizer.decode(out[0][ids.shape[1]:], skip_special_tokens=True)
        right += said.replace(" ", "") == row["said"].replace(" ", "")
    ok(len(rows) == 10 and right == len(rows), f"greedy answers: {right} of {len(rows)} as the server gives them")


def open_events(directory):
    """TensorBoard's reader, or None."""
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        print(f"ok {logits.count + 1} # SKIP the package tensorboard is not installed")
        logits.count += 1
        return None
    read = EventAccumulator(directory)
    read.Reload()
    return read


def steps(directory):
    """The first training's loss, gradient's norm and rate at each step, by torch."""
    read = open_events(f"{directory}/steps")
    if read is None:
        return
    tokenizer = AutoTokenizer.from_pretrained(f"{directory}/base")
    model = GPT2LMHeadModel.from_pretrained(f"{directory}/base", attn_implementation="eager").eval()
    with open(f"{directory}/rows") as f:
        rows = [json.loads(line) for line in f if line.strip()]
    groups = [{"params": [p for p in model.parameters() if p.dim() == d], "weight_decay": w} for d, w in ((2, 0.1), (1, 0))]
    optimizer = torch.optim.AdamW(groups, lr=0.003)
    schedule = get_scheduler("linear", optimizer, num_warmup_steps=2, num_training_steps=20)
    worst = 0
    for at in range(20):
        total, count = 0, 0
        for row in rows:
            answer = tokenizer(row["response"], add_special_tokens=False)["input_ids"] + [tokenizer.sep_token_id]
            out = model(torch.tensor([row["prompt"] + answer])).logits[0, -len(answer) - 1:-1]
            total = total + torch.nn.functional.cross_entropy(out, torch.tensor(answer), reduction="sum")
            count += len(answer)
        optimizer.zero_grad()
        (total / count).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        want = {"loss": (total / count).item(), "grad_norm": norm.item(), "learning_rate": schedule.get_last_lr()[0]}
        for tag, value in want.items():
            worst = max(worst, abs(read.Scalars(f"train/{tag}")[at].value - value) / max(value, 1e-6))
        optimizer.step()
        schedule.step()
    ok(len(rows) == 40 and worst < 1e-4, f"20 steps as torch takes them (worst {worst:.1e})")


def events(directory):
    files = glob.glob(f"{directory}/events.out.tfevents.*")
    ok(len(files) == 1, "one event file")
    read = open_events(directory)
    if read is None:
        return
    tags = read.Tags()["scalars"]
    wanted = ["train/loss", "train/learning_rate", "train/grad_norm", "train/epoch", "eval/loss", "eval/accuracy"]
    ok(all(t in tags for t in wanted), f"tags: {sorted(tags)}")
    steps = [e.step for e in read.Scalars("eval/loss")]
    ok(steps == list(range(0, 201, 20)), f"an evaluation each 20 steps: {steps}")
    loss = [e.value for e in read.Scalars("train/loss")]
    ok(len(loss) == 10 and loss[-1] < loss[0], f"the loss falls: {loss[0]:.3f} to {loss[-1]:.3f}")
    rates = [e.value for e in read.Scalars("train/learning_rate")]
    ok(0 < rates[-1] < 5e-4 < max(rates) <= 5e-3, "the learning rate goes down")


def main():
    with tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o755)
        if subprocess.run([f"{HERE}/trained.sh", d], stdout=subprocess.DEVNULL).returncode:
            ok(False, "trained and exported")
        else:
            model = GPT2LMHeadModel.from_pretrained(f"{d}/model", attn_implementation="eager").eval()
            batch = sequences(model.config, 1)
            with torch.no_grad():
                want = torch.cat([model(torch.tensor([ids])).logits[0] for ids in batch]).numpy()
            compare("trained by SQL", ours(f"{d}/model", batch, model.config.vocab_size), want)
            answers(model, AutoTokenizer.from_pretrained(f"{d}/model"), f"{d}/answers")
            events(f"{d}/logs")
            steps(d)
    print(f"1..{logits.count}")
    return logits.failed > 0


if __name__ == "__main__":
    sys.exit(main())
