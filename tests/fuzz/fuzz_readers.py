# SPDX-License-Identifier: Apache-2.0
"""Coverage-guided fuzzing of the data readers and the mask grammar: only `InputError` is allowed.

    pip install -r requirements.txt -r tests/fuzz/requirements-fuzz.txt
    python tests/fuzz/fuzz_readers.py squad -max_total_time=600 -rss_limit_mb=2048 -timeout=20 \\
        [corpus folder]

The first argument is squad, cmrc or mask; the others are libFuzzer's. Add findings to
tests/fuzz/test_fuzz.py as examples.
"""

import json
import os
import sys
import tempfile

import atheris

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
import tensorflow.compat.v1 as tf  # noqa: E402, before the others, so that it is not instrumented

_MODULES = ("attention_mask", "cells", "datasets", "errors", "examples", "files", "squad_format", "tokenization", "windows")
with atheris.instrument_imports(include=_MODULES):
    import tokenization
    from mrc import cells, datasets
    from mrc.data import examples, squad_format
    from mrc.data.windows import Windows
    from mrc.util.errors import InputError

_PIECES = "[PAD] [UNK] [CLS] [SEP] a ##a b ##b the 1 ##1 灯 塔 。 , . ?".split()
_SIZES = (24, 7, 9)
_RAW = 128  # an input whose first byte is smaller is the file itself; others shape a valid file


class _Shaper:
    """Builds a mostly valid data file from the bytes of the fuzzer."""

    def __init__(self, data):
        self._data = atheris.FuzzedDataProvider(data)

    def _is_replaced(self):
        """Returns whether to replace a value by another one."""
        return self._data.ConsumeIntInRange(0, 15) == 0

    def _text(self):
        return self._data.ConsumeUnicode(self._data.ConsumeIntInRange(0, 40))

    def _any(self):
        make = (
            lambda: None,
            self._data.ConsumeBool,
            lambda: self._data.ConsumeInt(9),
            self._data.ConsumeFloat,
            self._text,
            list,
            dict,
            lambda: [self._text()],
            lambda: {self._text(): self._text()},
        )
        return make[self._data.ConsumeIntInRange(0, len(make) - 1)]()

    def _value(self, make):
        return self._any() if self._is_replaced() else make()

    def _list(self, make, most):
        return [self._value(make) for _ in range(self._data.ConsumeIntInRange(0, most))]

    def _object(self, **members):
        return {key: self._value(make) for key, make in members.items() if not self._is_replaced()}

    def _answer(self):
        return self._object(text=self._text, answer_start=lambda: self._data.ConsumeIntInRange(-5, 40))

    def _question(self):
        return self._object(
            id=self._text,
            question=self._text,
            is_impossible=self._data.ConsumeBool,
            answers=lambda: self._list(self._answer, 2),
        )

    def _paragraph(self):
        return self._object(context=self._text, qas=lambda: self._list(self._question, 3))

    def _article(self):
        return self._object(paragraphs=lambda: self._list(self._paragraph, 2))

    def file(self):
        """Returns the bytes of a data file."""
        return json.dumps(self._object(data=lambda: self._list(self._article, 2))).encode("ascii")

    def mask(self):
        """Returns the values of the mask flags and a number of layers."""
        flags = [None if self._is_replaced() else self._text() for _ in range(2)]
        return flags + [self._data.ConsumeIntInRange(1, 24)]


def _try(work, *args):
    """Returns the result of `work`, None if it raises an `InputError`."""
    try:
        return work(*args)
    except InputError as error:
        assert str(error)
        return None


class _Reader:
    """Reads the fuzzer's bytes as a data file, for training and prediction, up to windows."""

    def __init__(self, dataset, path):
        self._dataset, self._path = dataset, path
        self._tokenizer = tokenization.WordPieceTokenizer(tokenization.Vocabulary(_PIECES), dataset.do_lower_case)

    def _windows(self, make, keys, *more):
        made = make(self._dataset, squad_format.read(self._path, keys=keys), self._path, *more)
        found = Windows(made, self._tokenizer, *_SIZES)
        found.batch(range(len(found)))
        found.answer_positions(self._dataset.refines_answers)

    def __call__(self, data):
        if data and data[0] >= _RAW:
            data = _Shaper(data[1:]).file()
        with open(self._path, "wb") as writer:
            writer.write(data)
        _try(self._windows, examples.make_prediction_examples, squad_format.PREDICTION)
        for with_negatives, keys in ((False, squad_format.TRAINING), (True, squad_format.TRAINING_WITH_NEGATIVES)):
            _try(self._windows, examples.make_training_examples, keys, with_negatives)


def _read_mask(data):
    for cell in _try(cells.read_cells, *_Shaper(data).mask()) or ():
        assert len(cell.name) < 200 and os.sep not in cell.name


def _main():
    tf.logging.set_verbosity(tf.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "data.json")
        targets = {"squad": _Reader(datasets.SQUAD, path), "cmrc": _Reader(datasets.CMRC2018, path), "mask": _read_mask}
        target = targets[sys.argv.pop(1)]
        atheris.Setup(sys.argv, target)
        atheris.Fuzz()


if __name__ == "__main__":
    _main()
