"""From a checkpoint to the export directory: readout scalars on the validation sets, export, vectors, evaluation."""
import glob
import json
import os
import shutil

import card
import checkpoint
import choose
import evaluate
import export
import readout
import spelling
import texts
import vectors
import vocab
from student import Student


def idf_table(work, normalise):
    path = f"{work}/idf.pt"
    if not os.path.exists(path):
        checkpoint.save(path, spelling.learn_idf(texts.load(work)["short"], normalise))
    return checkpoint.load(path)


def load(work):
    """(student, head, tokenizer, idf, where in the plan) of the latest checkpoint."""
    tokenizer = vocab.load(work)
    c = checkpoint.load(f"{work}/checkpoint.pt")
    return Student.of(c["student"]), readout.Head.of(c["head"]), tokenizer, idf_table(work, tokenizer.normalizer.normalize_str), (c["phase"], c["step"])


def finish(work, data=None, scalars=None, mirror=None, report=print):
    """Write work/export and, where the development episodes are at hand, work/figures.json and card.json."""
    student, head, tokenizer, idf, at = load(work)
    student.eval()
    spell = spelling.Spelling(idf, tokenizer.normalizer.normalize_str)
    report(f"finishing phase {at[0]} step {at[1]}")
    if scalars is None:
        scalars, _ = choose.choose(texts.load(work)["valid"], student, head, tokenizer, spell, report)
    folder = f"{work}/export"
    export.write(folder, student, head, idf, scalars, f"{work}/tokenizer.json")
    vectors.write(f"{folder}/vectors.json", student, head, spell, scalars, tokenizer)
    if mirror:
        shutil.copytree(folder, f"{mirror}/export", dirs_exist_ok=True)
    episodes = sorted(glob.glob(f"{data}/../eval/dev/*.jsonl")) if data else []
    if episodes:
        figures = evaluate.report(student, head, spell, tokenizer, scalars,
                                  [q for path in episodes for q in evaluate.questions(path)])
        report(evaluate.show(figures))
        with open(f"{work}/figures.json", "w", encoding="utf8") as f:
            json.dump(figures, f, indent=1)
        card.write(f"{work}/card.json", work, scalars, figures)
    return scalars
