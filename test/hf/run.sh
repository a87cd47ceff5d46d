#!/bin/sh
# Compare with the real Hugging Face libraries: token ids (tokens.py), logits (logits.py), gradients (train.py).
#
# Uses the Python of FSI_HF_PYTHON if that is set, else a virtual environment in build/hf with what requirements.txt
# names, made on the first run (downloads some gigabytes). Arguments are scripts to run instead of all.
set -eu
cd "$(dirname "$0")/../.."

BUILD=${BUILD:-build}
FSI_SHARED=${FSI_SHARED:-../shared}
FSI_TOOLS=${FSI_TOOLS:-$BUILD/tools}
export FSI_SHARED FSI_TOOLS

if [ -z "${FSI_HF_PYTHON:-}" ]; then
	venv=$BUILD/hf/venv
	if ! cmp -s test/hf/requirements.txt "$venv/requirements.txt"; then
		python3 -m venv "$venv"
		"$venv/bin/pip" install --quiet -r test/hf/requirements.txt
		cp test/hf/requirements.txt "$venv/requirements.txt"
	fi
	FSI_HF_PYTHON=$venv/bin/python
fi

"${MAKE:-make}" -s tools
[ $# -gt 0 ] || set -- test/hf/*.py
TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=false exec prove --comments -e "$FSI_HF_PYTHON" "$@"
