#!/usr/bin/env bash
# Fine-tunes cased BERT base on SQuAD 1.1 and answers its dev set, as in the study.
#
#     TPU_NAME=my-tpu TPU_ZONE=us-central1-b GS_BUCKET=gs://my-bucket ./train_squad.sh
#
# Further flags are passed to the run script. scripts/protocol.sh lists more variables.
set -euo pipefail
cd "$(dirname "$0")"
. scripts/protocol.sh

BERT_DIR=${BERT_DIR:-$(root)/cased_L-12_H-768_A-12}
DATA_DIR=${DATA_DIR:-$(root)/squad}
MODEL_OUTPUT_DIR=${MODEL_OUTPUT_DIR:-$(root)/squad_output}

run_reader run_squad.py --do_lower_case=False \
  --do_train=True --train_file="$DATA_DIR/train-v1.1.json" \
  --do_predict=True --do_eval=True --predict_file="$DATA_DIR/dev-v1.1.json" \
  --train_batch_size=64 --learning_rate=3e-5 --num_train_epochs=3.0 ${MICRO_BATCH_SIZE:+--micro_batch_size="$MICRO_BATCH_SIZE"} "$@"
