#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The whole study of one or several readers: decodes and scores the grid, sums the attention,
# correlates both, compares the readers and writes the report.
#
#     scripts/study.sh READER_FOLDER...
#
# A reader folder is the output folder of a run with --predict_file: its run.json names the model,
# the data and the other flags. Rerun the script to resume; finished cells are not decoded again.
# REPORT is the page to write (default: report.html). ZONES and MASK_HEAD choose the cells, see
# scripts/protocol.sh, which lists more variables.
set -euo pipefail
case ${1:-} in -h | --help) sed -n "3,/^set/s/^# \\{0,1\\}//p" "$0"; exit ;; esac
from=$PWD
cd "$(dirname "$0")/.."
zones=${ZONES:-}
. scripts/protocol.sh
ZONES=${zones:-$ZONES}

# Prints a path as seen from the project folder.
from_here() {
  case $1 in /* | *://*) printf '%s' "${1%/}" ;; *) printf '%s' "$from/${1%/}" ;; esac
}

if [ $# -eq 0 ]; then _stop "pass the folders of readers: scripts/study.sh READER_FOLDER..."; fi
report=$(from_here "${REPORT:-report.html}")
readers=()
for folder in "$@"; do readers+=("$(from_here "$folder")"); done
heads=(${MASK_HEAD:+"--mask_head=$MASK_HEAD"})

for folder in "${readers[@]}"; do
  recorded=$("$PYTHON" -m mrc.experiment.recorded_command "$folder")
  command=()
  while read -r word; do command+=("$word"); done <<< "$recorded"
  run "$PYTHON" "${command[@]}" --do_predict --do_eval --mask_zone="$ZONES" --mask_layer=each ${heads[@]+"${heads[@]}"}
  run "$PYTHON" "${command[@]}" --do_attention --precision=float32
  run "$PYTHON" correlate.py "$folder" || printf 'Attention and losses in %s are not correlated.\n' "$folder"
done
for ((a = 0; a < ${#readers[@]}; a++)); do
  for ((b = a + 1; b < ${#readers[@]}; b++)); do
    run "$PYTHON" compare.py "${readers[a]}" "${readers[b]}" --output="${readers[a]}/against_$(basename "${readers[b]}")" ||
      printf '%s and %s are not compared.\n' "${readers[a]}" "${readers[b]}"
  done
done
run "$PYTHON" report.py "${readers[@]}" "$report"
