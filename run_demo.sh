#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the whole study on a small scale, in English and in Chinese: fine-tunes a tiny BERT on sample
# data, answers held-out questions with each zone of each layer masked, scores the answers, draws the
# heat map and writes the report.
#
#     ./run_demo.sh [FOLDER]
#
# Results go to FOLDER (default: $DEMO_OUTPUT or demo_output). Rerun the script to resume.
set -euo pipefail
case ${1:-} in -h | --help) sed -n "3,/^set/s/^# \\{0,1\\}//p" "$0"; exit ;; esac
from=$PWD
cd "$(dirname "$0")"
output=${1:-${DEMO_OUTPUT:-}}
case $output in
  "") output=demo_output ;;
  /*) ;;
  *) output=$from/$output ;;
esac

. scripts/setup_environment.sh requirements.txt requirements/figures.txt
begun=$SECONDS

# Prints a command of the project and runs it: run SCRIPT [FLAGS]
run() {
  printf '\n+ python %s\n' "$*" >&2
  "$VENV_PYTHON" "$@"
}

# Writes the data, trains, predicts and scores: experiment LANGUAGE RUN_SCRIPT
experiment() {
  local model=demo/$1/bert_model.ckpt folder=$output/$1
  local data=$folder/data
  run demo/sample_data.py --language="$1" --output_dir="$data"
  run "$2" --do_train --do_predict --do_eval --mask_zone=all,q2,q2p,p2q,p2 --mask_layer=each \
    --bert_config_file="$data/bert_config.json" --vocab_file="$data/vocab.txt" --init_checkpoint="$model" \
    --train_file="$data/train.json" --predict_file="$data/dev.json" --output_dir="$folder" \
    --max_seq_length=64 --train_batch_size=32 --learning_rate=1e-3 --num_train_epochs=3 --predict_batch_size=32
}

experiment en run_squad.py
experiment zh run_cmrc2018.py
run visualize_zones.py "$output/en/results.csv" "$output/zh/results.csv" "$output/zones.png" --annotate --range=auto --titles=English,Chinese
run report.py "$output/en" "$output/zh" "$output/report.html"

for language in en zh; do
  printf '\nExact match (%s) by masked layer and zone:\n' "$language"
  awk -F, '{ printf "%-10s", $1; for (i = 2; i <= NF; i++) printf((NR > 1 ? "%8.1f" : "%8s"), $i); print "" }' \
    "$output/$language/results.csv"
done
printf '\nThe heat map is in %s\nThe report is in %s: open it in a browser.\nThe demo took %d seconds.\n' "$output/zones.png" "$output/report.html" "$((SECONDS - begun))"
