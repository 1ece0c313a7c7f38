#!/usr/bin/env bash
# Decodes the CMRC 2018 dev set under every zone of every layer with the reader of train_cmrc2018.sh.
#
#     TPU_NAME=my-tpu TPU_ZONE=us-central1-b GS_BUCKET=gs://my-bucket ./decode_cmrc2018.sh
#
# Further flags are passed on to the run script. More variables are at the top of scripts/protocol.sh.
set -euo pipefail
cd "$(dirname "$0")"
. scripts/protocol.sh

BERT_DIR=${BERT_DIR:-$(root)/chinese_L-12_H-768_A-12}
DATA_DIR=${DATA_DIR:-$(root)/cmrc2018}
MODEL_OUTPUT_DIR=${MODEL_OUTPUT_DIR:-$(root)/cmrc2018_output}

decode_grid run_cmrc2018.py --do_lower_case=True --predict_file="$DATA_DIR/cmrc2018_dev.json" "$@"
