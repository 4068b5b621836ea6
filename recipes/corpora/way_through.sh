#!/usr/bin/env bash
# The whole way on a public corpus of real speech.
#
#   recipes/corpora/way_through.sh PACKAGE LANGUAGE DIR [STEPS]
#
# fetches the package (if DIR/recordings is not there), makes a base with random weights, and runs
# prepare, pairs, tokenizer, train, install and synth in DIR. It shows that the path works on real
# input; a base with random weights learns little in so few steps.
set -euo pipefail

package=$1 language=$2 dir=$3 steps=${4:-300}

mkdir -p "$dir"
cd "$dir"
[ -d recordings ] || idiolect corpus debian "$package" recordings --language "$language"
[ -f checkpoints/gpt.pth ] || idiolect nano new checkpoints --seed 1

data=data/$language
run=training/$language
idiolect prepare --audio-dir recordings/audio --transcript-file recordings/transcripts.txt \
    --language "$language" --output-manifest "$data/train.jsonl" --allow-skips
idiolect pairs --manifest "$data/train.jsonl" --output "$data/train_paired.jsonl"
idiolect tokenizer --manifest "$data/train.jsonl" --vocab-size 1000 \
    --output-prefix "$run/tokenizer/${language}_bpe"
idiolect train --train-manifest "$data/train_paired.jsonl" \
    --tokenizer "$run/tokenizer/${language}_bpe.model" --output-dir "$run/checkpoints" \
    --batch-size 16 --learning-rate 1e-3 --max-steps "$steps" --allow-skips
idiolect install --checkpoint "$run/checkpoints/best.pth" --force \
    --tokenizer "$run/tokenizer/${language}_bpe.model" --output-name "$language"
voice=$(head -n 1 "$data/val.jsonl" | python3 -c \
    'import json, sys; print(json.loads(sys.stdin.readline())["audio"])')
text=$(head -n 1 "$data/val.jsonl" | python3 -c \
    'import json, sys; print(json.loads(sys.stdin.readline())["text"])')
idiolect synth --model "$language" --voice "$data/$voice" --text "$text" --seed 1 \
    --max-mel-tokens 300 --output "$language.wav"
