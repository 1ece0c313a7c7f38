#!/usr/bin/env bash
# Fine-tunes Chinese BERT base on CMRC 2018 and answers its dev set, as in the study.
#
#     TPU_NAME=my-tpu TPU_ZONE=us-central1-b GS_BUCKET=gs://my-bucket ./train_cmrc2018.sh
#
# Further flags are passed to the run script. scripts/protocol.sh lists more variables.
set -euo pipefail
cd "$(dirname "$0")"
. scripts/protocol.sh

BERT_DIR=${BERT_DIR:-$(root)/chinese_L-12_H-768_A-12}
DATA_DIR=${DATA_DIR:-$(root)/cmrc2018}
MODEL_OUTPUT_DIR=${MODEL_OUTPUT_DIR:-$(root)/cmrc2018_output}

run_reader run_cmrc2018.py --do_lower_case=True \
  --do_train=True --train_file="$DATA_DIR/cmrc2018_train.json" \
  --do_predict=True --do_eval=True --predict_file="$DATA_DIR/cmrc2018_dev.json" \
  --train_batch_size=64 --learning_rate=3e-5 --num_train_epochs=2.0 ${MICRO_BATCH_SIZE:+--micro_batch_size="$MICRO_BATCH_SIZE"} "$@"
