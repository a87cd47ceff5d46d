#!/bin/bash
# On a lent CUDA machine, in the repository's root: both editions trained at once on one GPU. README.md says how to get there.
#
#   gpu.sh try                    PACK/1 unpacked; a minute's look at speed, on our own texts alone
#   gpu.sh train MINUTES          PACK/2 unpacked; both trained for MINUTES; small's weights in $OUT
#   gpu.sh results EDITION        an edition's weights in $OUT
#
# EDITIONS (small base) are trained; with small alone the GPU is its own. After DEADLINE seconds, if given, training stops where it is.
# WORK (/tmp/w) is kept there between commands, PACK (models/recipe/work/gpu) is what travels with them.
set -eu
here=$(dirname "$0")
work=${WORK:-/tmp/w} pack=${PACK:-$here/work/gpu} out=${OUT:-/tmp/out} python=${PYTHON:-python3}
editions=${EDITIONS:-small base}
small_batch=${SMALL_BATCH:-4096} base_batch=${BASE_BATCH:-2048} device=${DEVICE:---device cuda --half}
threads=$(($(nproc) / $(wc -w <<< "$editions") - 2)) # of an edition

unpack() {
	local edition pid running=()
	for edition in $editions; do
		mkdir -p "$work/$edition"
		"$python" "$here/pack_for_gpu.py" unpack --work "$work/$edition" --out "$pack/$1" &
		running+=($!)
	done
	for pid in "${running[@]}"; do
		wait "$pid"
	done
}

# train EDITION BATCH ARGUMENTS: one process (in the background), its output beside its checkpoint
train() {
	local edition=$1 batch=$2
	shift 2
	# shellcheck disable=SC2086
	exec ${DEADLINE:+timeout --preserve-status "$DEADLINE"} "$python" "$here/make.py" --work "$work/$edition" $device --bank --train-only \
		--threads $((threads > 1 ? threads : 1)) --batch "$batch" "$@" > "$work/$edition/out" 2>&1
}

# whichever fails first stops the other, so that no time is spent on half a result
train_all() {
	local edition running=()
	for edition in $editions; do
		case $edition in
		small) train small "$small_batch" "${small[@]}" & ;;
		base) train base "$base_batch" "${base[@]}" & ;;
		esac
		running+=($!)
	done
	for _ in "${running[@]}"; do
		if ! wait -n; then
			kill "${running[@]}" 2> /dev/null || true
			tail -n 25 "$work"/*/out
			exit 1
		fi
	done
	tail -n 25 "$work"/*/out
}

case $1 in
try)
	unpack 1
	case $editions in *base*) "$python" "$here/grow.py" --work "$work/base" "$work/small/checkpoint.pt" ;; esac
	mkdir -p "$work/try"
	for edition in $editions; do
		mkdir -p "$work/try/$edition"
		cp -r "$work/$edition/." "$work/try/$edition"
		"$python" "$here/own_texts.py" "$work/try/$edition" ${TRY_PAIRS:-}
	done
	work=$work/try
	small=(--extend "try:broad:${2:-0.5}m:1e-4" --extend "try-int8:broad:0.1m:1e-5:rounding")
	base=("${small[@]}")
	train_all
	;;
train)
	unpack 2
	last=1.0
	main=$("$python" -c "print($2 - $last)")
	# phases of names that no plan has yet: a plan appends what it does not know
	name=g$("$python" -c "import json; print(len(json.load(open('$work/small/plan.json'))))")
	small=(--extend "$name:broad:${main}m:8e-4" --extend "$name-int8:broad:${last}m:1e-4:rounding")
	base=(--extend "$name:broad:${main}m:4e-4" --extend "$name-int8:broad:${last}m:5e-5:rounding")
	train_all
	"$python" "$here/pack_for_gpu.py" results --work "$work/small" --out "$out"
	;;
results)
	"$python" "$here/pack_for_gpu.py" results --work "$work/$2" --out "$out"
	;;
*)
	echo "usage: $0 try [MINUTES] | train MINUTES | results EDITION" >&2
	exit 2
	;;
esac
