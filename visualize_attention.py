# SPDX-License-Identifier: Apache-2.0
"""Draws where a reader attends: every head over a data set, or single heads on one question.

    python visualize_attention.py reader/attention.csv figure.png
    python visualize_attention.py --show=mass reader/attention.csv table.tex
    python visualize_attention.py --question=ID --layer=5 --head=3 reader map.png
    python visualize_attention.py --question=ID --layer=0,5 --head=each reader sheet.pdf
    python visualize_attention.py --question=ID reader page.html

The first draws a panel of layers by heads for each zone, and one for [CLS] and [SEP]. Colours show
the lift, the attention mass over that of uniform attention, or the mass; .tex gives LaTeX tables.
The others take an output folder and run the reader of its last run (see run.json) on one window of
the question: as a map of tokens by tokens, as a contact sheet, or as an interactive page of all
layers and heads. Layers and heads count from 1 in figures and from 0 in flags and files.
"""

import argparse
import os

from mrc.util import check_environment  # noqa: F401, first: it reports missing packages

# isort: split
import numpy as np

from mrc.answers import attention_tables
from mrc.cells import EACH
from mrc.experiment import run_record
from mrc.figures import attention_map, figure_files, heat_map, latex
from mrc.util import errors, files
from mrc.util.errors import InputError, exit_with_message

MEAN = "mean"
_PAGE = "html"
_MOST_MAPS = 240  # in a contact sheet
_LIFTS = (-5.0, 5.0)  # of colours: logarithms of 1/32 and 32


def _parse_arguments():
    parser = errors.ArgumentParser(__doc__)
    parser.add_argument("source", type=files.normalized, help="an attention.csv or, with --question, an output folder")
    parser.add_argument("output", type=files.normalized, help="the file to write: .png, .pdf, .svg or .html")
    parser.add_argument("--question", help="id of the question to read")
    parser.add_argument("--window", type=_number, help="window of the question, from 0 (default: the answer's)")
    for name in ("layer", "head"):
        parser.add_argument(f"--{name}", help=f'{name}s from 0, separated by commas, "{EACH}" or "{MEAN}" (default: {MEAN})')
    parser.add_argument(
        "--show",
        choices=[attention_map.LIFT, attention_map.MASS],
        default=attention_map.LIFT,
        help="what colours show: lift, the mass over that of uniform attention (default), or mass",
    )
    figure_files.add_size_arguments(parser)
    args = parser.parse_args()
    other = latex.EXTENSION if args.question is None else _PAGE
    figure_files.check_extension(parser, args.output, [*figure_files.FORMATS, other])
    given = [name for name in ("window", "layer", "head") if getattr(args, name) is not None]
    if args.question is None and given:
        parser.error(f"--{given[0]} needs --question; pass the id of a question")
    chosen = [name for name in given if name != "window"]
    if figure_files.extension(args.output) == _PAGE and chosen:
        parser.error(f"--{chosen[0]} does not apply to a page, which has all of them; remove it")
    return args


def _number(text):
    if not (text.isdecimal() and len(text) < 10):
        raise argparse.ArgumentTypeError(f'"{text}" is not a number from 0')
    return int(text)


def _choices(text, count, what):
    """Returns [(name, numbers)] of the layers or heads that a flag names, each averaged over."""
    choices = []
    for part in (text or MEAN).split(","):
        part = part.strip()
        if part == MEAN:
            choices.append((f"mean of {what}s", list(range(count))))
        elif part == EACH:
            choices.extend((f"{what} {number + 1}", [number]) for number in range(count))
        elif part.isdecimal() and len(part) < 10 and int(part) < count:
            choices.append((f"{what} {int(part) + 1}", [int(part)]))
        else:
            raise InputError(
                f'--{what}: there is no {what} "{part[:20]}"; the {what}s are 0 to {count - 1}, "{EACH}" or "{MEAN}"'
            )
    return choices


def _draw_question(args):
    from mrc.experiment import attention_window, explain
    from mrc.util import tensorflow_versions

    tensorflow_versions.silence_deprecation_warnings()
    inputs = attention_window.read_inputs(args.source)
    config = inputs.config
    layers = _choices(args.layer, config.num_hidden_layers, "layer")
    heads = _choices(args.head, config.num_attention_heads, "head")
    if len(layers) * len(heads) > _MOST_MAPS:
        raise InputError(
            f"{len(layers) * len(heads)} maps do not fit on a sheet of {_MOST_MAPS}; choose fewer "
            "layers or heads, or write a page.html"
        )
    with explain.explain_tensorflow_errors(False):
        window = attention_window.read_window(inputs, args.question, args.window)
    reader = inputs.trained or inputs.options.init_checkpoint
    if figure_files.extension(args.output) == _PAGE:
        files.make_folder_of(args.output)
        files.write(args.output, attention_window.page(inputs, args.source, window))
        return
    names, maps = [], []
    for layer_name, layer in layers:
        for head_name, head in heads:
            names.append(f"{layer_name}, {head_name}")
            maps.append(np.mean(window.attention[np.ix_(layer, head)], axis=(0, 1)))
    if len(maps) == 1:
        figure = attention_map.draw_map(window, maps[0], names[0], args.show, args.width)
    else:
        size = args.show, args.width, args.columns
        figure = attention_map.draw_sheet(window, maps, names, *size)
    figure_files.save(figure, args.output, f"attention of {reader}")


def main():
    args = _parse_arguments()
    if figure_files.extension(args.output) != _PAGE:
        figure_files.check_matplotlib()
    if args.question is not None:
        _draw_question(args)
        return
    with files.recorded_hashes() as hashes:
        masses = attention_tables.read(args.source)
        is_lift = args.show == attention_map.LIFT
        uniform = attention_tables.read(args.source, "uniform") if is_lift else None
    origins = run_record.origins(hashes)
    folder = os.path.basename(os.path.dirname(os.path.abspath(args.source)))
    about = f"{folder}: {os.path.basename(args.source)}"
    panels, label = attention_map.panels_of(masses, uniform, about), attention_map.label_of(uniform)
    if figure_files.extension(args.output) == latex.EXTENSION:
        latex.write(args.output, latex.of_panels(panels, label, digits=2 if is_lift else 3), origins)
        return
    value_range = _LIFTS if is_lift else "auto"
    figure = heat_map.draw(panels, label, value_range, args.width, args.columns)
    figure_files.save(figure, args.output, origins)


if __name__ == "__main__":
    with exit_with_message():
        main()
