#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The whole experiment in small, in English and in Chinese: fine-tunes a tiny BERT on sample data, answers the held-out
# questions with every zone masked in every layer, scores the answers, and draws the heat map.
# Usage: ./run_demo.sh [FOLDER]        results go to FOLDER, $DEMO_OUTPUT or demo_output
set -euo pipefail
output=$(realpath -m "${1:-${DEMO_OUTPUT:-demo_output}}")
cd "$(dirname "${BASH_SOURCE[0]}")"

begun=$SECONDS
. ./setup_environment.sh requirements.txt requirements-figures.txt
installed=$SECONDS

# Prints a command that can be copied, then runs it.
run() {
    printf '\n+ %s\n' "$*"
    "$VENV_PYTHON" "${@:2}"
}

# Trains, answers and scores: experiment LANGUAGE RUN_SCRIPT
experiment() {
    local language=$1 script=$2 folder=$output/$1
    rm -rf "$folder"
    run python sample_data.py --language="$language" --output_dir="$folder/data"
    run python "$script" --do_train --do_predict --do_eval --mask_zone=all,q2,q2p,p2q,p2 --mask_layer=each \
        --bert_config_file="$folder/data/bert_config.json" --vocab_file="$folder/data/vocab.txt" \
        --init_checkpoint="demo/$language/bert_model.ckpt" \
        --train_file="$folder/data/train.json" --predict_file="$folder/data/dev.json" --output_dir="$folder" \
        --max_seq_length=96 --train_batch_size=32 --learning_rate=1e-3 --num_train_epochs=3 \
        --predict_batch_size=64
}

experiment en run_squad.py
experiment zh run_cmrc2018.py
run python visualize_zones.py "$output/en/results.csv" "$output/zh/results.csv" "$output/zones.png" --annotate

for language in en zh; do
    printf '\nExact match, and F1, of each masked zone and layer (%s):\n' "$language"
    column -t -s, "$output/$language/results.csv"
done
printf '\nThe heat map: %s\n' "$output/zones.png"
printf 'Time taken: %d s, and %d s before that to set up the environment\n' $((SECONDS - installed)) $((installed - begun))
