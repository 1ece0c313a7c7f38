#!/usr/bin/env bash
# Decodes the SQuAD dev set under every zone of every layer with the reader that train_squad.sh made.
#
#     TPU_NAME=my-tpu TPU_ZONE=us-central1-b GS_BUCKET=gs://my-bucket ./decode_squad.sh
#
# Further flags are passed on to the run script. More variables are at the top of scripts/protocol.sh.
set -euo pipefail
cd "$(dirname "$0")"
. scripts/protocol.sh

BERT_DIR=${BERT_DIR:-$(root)/cased_L-12_H-768_A-12}
DATA_DIR=${DATA_DIR:-$(root)/squad}
MODEL_OUTPUT_DIR=${MODEL_OUTPUT_DIR:-$(root)/squad_output}

decode_grid run_squad.py --do_lower_case=False --predict_file="$DATA_DIR/dev-v1.1.json" "$@"
