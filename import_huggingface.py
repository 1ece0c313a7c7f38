# SPDX-License-Identifier: Apache-2.0
"""Converts a BERT, ELECTRA or ALBERT of the Hugging Face Hub to files for the run scripts.

    pip install -r requirements/huggingface.txt
    python import_huggingface.py MODEL_FOLDER OUTPUT_FOLDER

MODEL_FOLDER is a downloaded model: config.json, model.safetensors (or shards, or pytorch_model.bin)
and vocab.txt or tokenizer.json, or spiece.model for an English ALBERT. The script writes
bert_model.ckpt, bert_config.json and vocab.txt or spiece.model to OUTPUT_FOLDER and prints the
command to run next. It runs no code from the model and does not need PyTorch.
"""

import os
import re
from shlex import quote

from mrc.util import check_environment  # noqa: F401, first: it reports missing packages

# isort: split
from mrc.util import errors, files
from mrc.util.errors import InputError

CHECKPOINT, CONFIG = "bert_model.ckpt", "bert_config.json"
_MOST_WINDOWS = 384  # tokens, in the printed command
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?$")


def _check_downloaded(model_folder):
    """Returns the path of the model's config; an `InputError` says how to download a model."""
    config_path = os.path.join(model_folder, "config.json")
    if files.exists(model_folder) or not _HUB_NAME.match(model_folder):
        return config_path
    from mrc.huggingface import model_config

    target = os.path.basename(model_folder)
    raise InputError(
        f"there is no folder {model_folder}; if it is a model of the Hugging Face Hub, download it "
        f"first: pip install huggingface_hub && hf download {model_folder} --local-dir {target} "
        f"(huggingface-cli download in older versions), then pass {target}" + model_config.likely_refusal(model_folder)
    )


def convert(model_folder: str, output_folder: str) -> str:
    """Writes the converted model to `output_folder`; returns the report for the user."""
    # Here, because they import TensorFlow, which takes seconds.
    from mrc.huggingface import model_config, names, vocabulary, weights
    from mrc.model import bert_config, checkpoint

    config_path = _check_downloaded(model_folder)
    values = model_config.convert(files.read_json(config_path, "model config"), config_path)
    config = bert_config.make(values, config_path)
    tokenizer = vocabulary.read(model_folder, config.vocab_size, config.family)
    values["max_input_chars_per_word"] = tokenizer.longest_word
    if tokenizer.pieces is None:
        name = vocabulary.SENTENCE_PIECES
        pieces = files.read_bytes(os.path.join(model_folder, name), "sentencepiece model")
    else:
        name, pieces = vocabulary.VOCABULARY, "\n".join(tokenizer.pieces).encode("utf-8") + b"\n"
    tensors = weights.read(model_folder)
    variables = names.to_variables(tensors, config, model_folder)
    files.make_folder(output_folder)
    # The config last: without one, the folder of a killed import is no model.
    written = (CHECKPOINT + checkpoint.DATA, CHECKPOINT + ".index", name, CONFIG)
    with files.replacing_together(output_folder, written) as new:
        checkpoint.write(os.path.join(new, CHECKPOINT), variables)
        files.write(os.path.join(new, name), pieces, binary=True)
        files.write_json(os.path.join(new, CONFIG), values)
    return _report(output_folder, config, tokenizer, names.has_head(tensors))


def _report(folder, config, tokenizer, has_head):
    from mrc.huggingface import vocabulary
    from tokenization import is_ideograph

    lines = [f"warning: {text}" for text in tokenizer.warnings]
    length = min(_MOST_WINDOWS, config.max_position_embeddings)
    flag, name = "--vocab_file", vocabulary.VOCABULARY
    pieces = tokenizer.pieces or []
    is_chinese = 2 * sum(any(map(is_ideograph, piece)) for piece in pieces) > len(pieces)
    if tokenizer.pieces is None:
        flag, name = "--spm_model_file", vocabulary.SENTENCE_PIECES
    command = [
        f"python {'run_cmrc2018' if is_chinese else 'run_squad'}.py",
        f"--bert_config_file={quote(os.path.join(folder, CONFIG))}",
        f"{flag}={quote(os.path.join(folder, name))}",
        f"--init_checkpoint={quote(os.path.join(folder, CHECKPOINT))}",
        f"--do_lower_case={tokenizer.do_lower_case}",
        f"--max_seq_length={length}",
    ]
    if has_head:
        lines.append(f"{folder} holds a reader. To decode and draw its grid:")
        command += ["--do_predict --do_eval --predict_file=dev.json", "--mask_zone=all,q2,q2p,p2q,p2 --mask_layer=each"]
    else:
        lines.append(f"{folder} holds a model without a span head: train it before it can answer. For example:")
        command.append("--do_train --train_file=train.json")
    output = folder.rstrip("/") + "_output"
    lines.append(" \\\n  ".join(command + [f"--output_dir={quote(output)}"]))
    if has_head:
        tables, figure = (quote(os.path.join(output, name)) for name in ("results.csv", "zones.png"))
        lines.append(f"python visualize_zones.py --annotate {tables} {figure}")
    return "\n".join(lines)


def main():
    parser = errors.ArgumentParser(__doc__)
    parser.add_argument("model_folder", type=files.normalized, help="folder of the downloaded model")
    parser.add_argument("output_folder", type=files.normalized, help="folder for the converted files")
    args = parser.parse_args()
    print(convert(args.model_folder, args.output_folder))


if __name__ == "__main__":
    with errors.exit_with_message():
        main()
