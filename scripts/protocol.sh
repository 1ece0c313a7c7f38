# Variables and functions of the four protocol scripts; source it from bash. Environment variables
# override the defaults.

GS_BUCKET=${GS_BUCKET:-gs://your-bucket}   # for a TPU: bucket of data, checkpoints and results
TPU_NAME=${TPU_NAME:-}                     # empty: run on this machine's GPU or CPU
TPU_ZONE=${TPU_ZONE:-}
if [ -z "${PYTHON:-}" ]; then              # default: the environment of setup_environment.sh
  PYTHON=.venv${TF_VERSION:+-$TF_VERSION}/bin/python
  if [ -n "${SYSTEM_TENSORFLOW:-}" ]; then PYTHON=.venv-system/bin/python; fi
  if [ ! -x "$PYTHON" ]; then PYTHON=python; fi
fi

ZONES=all,q2,q2p,p2q,p2
MICRO_BATCH_SIZE=${MICRO_BATCH_SIZE:-}     # training: windows that are computed together, if the batch does not fit
MASK_HEAD=${MASK_HEAD:-}                   # decoding: heads as in --mask_head, such as "each"; empty: all at once

_stop() {
  printf 'error: %s\n' "$1" >&2
  exit 2
}

# Whether a TPU is accessed over the network; a TPU VM (TPU_NAME=local) reads local paths.
is_remote_tpu() {
  [ -n "$TPU_NAME" ] && [ "$TPU_NAME" != local ]
}

# Prints the default parent folder of BERT_DIR, DATA_DIR and MODEL_OUTPUT_DIR.
root() {
  if is_remote_tpu; then printf '%s' "$GS_BUCKET"; else printf '.'; fi
}

# Stops if a path is still the placeholder, or local although the TPU is remote.
check_paths() {
  local path
  for path in "$@"; do
    case $path in
      gs://your-bucket*) _stop "\"$path\" is a placeholder: set GS_BUCKET=gs://the-name-of-your-bucket" ;;
      gs://*) ;;
      *) if is_remote_tpu; then
           _stop "a remote TPU reads and writes gs:// paths only, and \"$path\" is local: set GS_BUCKET, BERT_DIR, DATA_DIR and MODEL_OUTPUT_DIR"
         fi ;;
    esac
  done
}

# Whether a local file is missing; paths in a bucket are checked by Python.
is_missing() {
  case $1 in gs://*) return 1 ;; esac
  [ ! -e "$1" ]
}

# Prints the flags of the device.
device_flags() {
  if [ -n "$TPU_NAME" ]; then
    printf '%s\n' --use_tpu=True "--tpu_name=$TPU_NAME"
    if [ -n "$TPU_ZONE" ]; then printf '%s\n' "--tpu_zone=$TPU_ZONE"; fi
  fi
}

# Prints a command and runs it.
run() {
  printf '+'; printf ' %q' "$@"; printf '\n'
  "$@"
}

# Runs a run script on the model in BERT_DIR with the window lengths of the study:
# run_reader SCRIPT FLAG...
run_reader() {
  local script=$1 flag device=()
  shift
  command -v "$PYTHON" >/dev/null || _stop "there is no Python \"$PYTHON\": set PYTHON to one with the requirements, or create .venv"
  check_paths "$BERT_DIR" "$DATA_DIR" "$MODEL_OUTPUT_DIR"
  while read -r flag; do device+=("$flag"); done < <(device_flags)  # macOS's bash 3.2 has no mapfile
  run "$PYTHON" "$script" \
    --vocab_file="$BERT_DIR/vocab.txt" \
    --bert_config_file="$BERT_DIR/bert_config.json" \
    --init_checkpoint="$BERT_DIR/bert_model.ckpt" \
    --max_seq_length=512 --doc_stride=128 --predict_batch_size=32 \
    --output_dir="$MODEL_OUTPUT_DIR" ${device[@]+"${device[@]}"} "$@"
}

# Decodes every zone of every layer (with MASK_HEAD: of single heads) and draws the heat map:
# decode_grid SCRIPT FLAG...
decode_grid() {
  local script=$1 table=results.csv figure=zones.png heads=()
  shift
  if [ -n "$MASK_HEAD" ]; then
    table=effects.csv figure=heads.png heads=("--mask_head=$MASK_HEAD")
  fi
  if is_missing "$MODEL_OUTPUT_DIR/checkpoint" && [[ " $*" != *" --init_checkpoint"* ]]; then
    _stop "there is no trained reader in $MODEL_OUTPUT_DIR: train it first, or pass --init_checkpoint=your/model.ckpt"
  fi
  run_reader "$script" --do_predict=True --do_eval=True --mask_zone="$ZONES" --mask_layer=each \
    ${heads[@]+"${heads[@]}"} "$@"
  if is_missing "$MODEL_OUTPUT_DIR/$table"; then
    printf 'A single cell, or data without answers, has no %s and no heat map.\n' "$table"
    return
  fi
  run "$PYTHON" visualize_zones.py "$MODEL_OUTPUT_DIR/$table" "$MODEL_OUTPUT_DIR/$figure" --annotate
}
