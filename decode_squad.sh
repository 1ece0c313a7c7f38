#!/usr/bin/env bash
# Decodes the SQuAD dev set with every zone of every layer masked in turn, using the reader trained
# by train_squad.sh.
#
#     TPU_NAME=my-tpu TPU_ZONE=us-central1-b GS_BUCKET=gs://my-bucket ./decode_squad.sh
#
# MASK_HEAD=each masks every head of every layer by itself; --mask_zone=p2q keeps that grid small.
# Further flags are passed to the run script. scripts/protocol.sh lists more variables.
set -euo pipefail
cd "$(dirname "$0")"
. scripts/protocol.sh

BERT_DIR=${BERT_DIR:-$(root)/cased_L-12_H-768_A-12}
DATA_DIR=${DATA_DIR:-$(root)/squad}
MODEL_OUTPUT_DIR=${MODEL_OUTPUT_DIR:-$(root)/squad_output}

decode_grid run_squad.py --do_lower_case=False --predict_file="$DATA_DIR/dev-v1.1.json" "$@"
