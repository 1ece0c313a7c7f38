# SPDX-License-Identifier: Apache-2.0
"""A simple reference for text to records and logits to answers: token by token, without caches.

It is slow: every question tokenizes its passage again, every piece is compared in every window,
and every cell is decoded on its own. The project's modules must return the same; none is used here.
"""

import collections
import json
import math
import random
import unicodedata
from typing import NamedTuple

import tensorflow.compat.v1 as tf

FIRST_UNIQUE_ID = 1000000000
IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
CHINESE_MARKS = '。，！？；、：（）－~「《》,」"“”$『』—;()-～‘’'


class Sizes(NamedTuple):
    max_seq_length: int
    doc_stride: int
    max_query_length: int


class Rules(NamedTuple):
    n_best_size: int = 20
    max_answer_length: int = 30
    with_negatives: bool = False
    null_threshold: float = 0.0


class Entry(NamedTuple):
    text: str
    start_logit: float
    end_logit: float
    start_index: int
    end_index: int


# Text to word pieces.


def is_ideograph(char):
    return any(first <= ord(char) <= last for first, last in IDEOGRAPHS)


def is_control(char):
    return char not in "\t\n\r" and unicodedata.category(char).startswith("C")


def is_white(char):
    return char in " \t\n\r" or unicodedata.category(char) == "Zs"


def is_punctuation(char):
    if 33 <= ord(char) <= 126 and not char.isalnum():
        return True
    return unicodedata.category(char).startswith("P")


def clean(text):
    kept = []
    for char in text:
        if char in "\0\ufffd" or is_control(char):
            continue
        kept.append(" " if is_white(char) else char)
    return "".join(kept)


def space_ideographs(text):
    return "".join(" " + char + " " if is_ideograph(char) else char for char in text)


def without_accents(text):
    return "".join(char for char in unicodedata.normalize("NFD", text) if unicodedata.category(char) != "Mn")


def split_punctuation(word):
    parts, inside = [], False
    for char in word:
        if is_punctuation(char):
            parts.append(char)
            inside = False
        elif inside:
            parts[-1] += char
        else:
            parts.append(char)
            inside = True
    return parts


def basic_tokens(text, lower):
    found = []
    for word in space_ideographs(clean(text)).split():
        if lower:
            word = without_accents(word.lower())
        found.extend(split_punctuation(word))
    return " ".join(found).split()


def word_pieces(token, ids):
    if len(token) > 200:
        return ["[UNK]"]
    pieces, start = [], 0
    while start < len(token):
        end = len(token)
        while end > start and ("##" if start else "") + token[start:end] not in ids:
            end -= 1
        if end == start:
            return ["[UNK]"]
        pieces.append(("##" if start else "") + token[start:end])
        start = end
    return pieces


class Tokenizer:
    """Word pieces of a list of vocabulary lines."""

    def __init__(self, lines, lower):
        self.lower = lower
        self.ids = {}
        for number, line in enumerate(lines):
            self.ids[line.strip()] = number

    def tokenize(self, text):
        return [piece for token in basic_tokens(text, self.lower) for piece in word_pieces(token, self.ids)]


# Data to examples.


def cut_words(context, chinese):
    """Returns the words, and the word index of each character (on white space, the word before)."""
    words, word_of, inside = [], [], False
    for char in context:
        if char in " \t\r\n\u202f" or (chinese and char == "\u2581"):
            inside = False
        elif chinese and (is_ideograph(char) or char in CHINESE_MARKS):
            words.append(char)
            inside = False
        elif inside:
            words[-1] += char
        else:
            words.append(char)
            inside = True
        word_of.append(len(words) - 1)
    return words, word_of


def locate_english(context, words, word_of, text, start):
    """Returns the first and last word of an answer, None where it cannot be recovered."""
    if not text or not 0 <= start <= len(context) - len(text):
        return None
    first, last = max(word_of[start], 0), word_of[start + len(text) - 1]
    if last < first or " ".join(text.split()) not in " ".join(words[first : last + 1]):
        return None
    return first, last


def locate_chinese(context, words, word_of, text, start):
    """Returns the first and last word of an answer after the shifts; None where no word is left."""
    if not text or not 0 <= start < len(context) + 3:
        return None
    for _ in range(3):
        if start > 0 and context[start : start + len(text)] != text:
            start -= 1
    end = min(start + len(text), len(context)) - 1
    while start < end and context[start] in " \t\r\n":
        start += 1
    if not 0 <= start < len(context):
        return None
    first, last = max(word_of[start], 0), word_of[end]
    if last < 0:
        return None
    if words[first] in "。，：:.,":
        first += 1
    return (first, last) if first < len(words) else None


def examples(data, chinese, training=False, with_negatives=False):
    """Returns the example dicts of a SQuAD-style value; in training shuffled, with answers."""
    found = []
    for article in data["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                words, word_of = cut_words(paragraph["context"], chinese)
                example = dict(id=question["id"], question=question["question"], words=words, span=None, answer="")
                if training and not (with_negatives and question.get("is_impossible")):
                    answer = question["answers"][0]
                    locate = locate_chinese if chinese else locate_english
                    example["span"] = locate(paragraph["context"], words, word_of, answer["text"], answer["answer_start"])
                    example["answer"] = answer["text"]
                    if example["span"] is None:
                        continue
                found.append(example)
    if training:
        random.Random(12345).shuffle(found)
    return found


# Examples to windows.


def window_starts(num_pieces, longest, stride):
    spans, start = [], 0
    while start < num_pieces:
        length = min(longest, num_pieces - start)
        spans.append((start, length))
        if start + length == num_pieces:
            break
        start += min(length, stride)
    return spans


def has_most_context(spans, number, place):
    """Whether window `number` is the first with the most context around the piece `place`."""
    best, best_number = None, None
    for other, (start, length) in enumerate(spans):
        if start <= place < start + length:
            score = min(place - start, start + length - 1 - place) + 0.01 * length
            if best is None or score > best:
                best, best_number = score, other
    return best_number == number


def refine(pieces, first, last, answer):
    for start in range(first, last + 1):
        for end in range(last, start - 1, -1):
            if " ".join(pieces[start : end + 1]) == " ".join(answer):
                return start, end
    return first, last


def answer_pieces(example, tokenizer, pieces, first_piece, chinese):
    if example["span"] is None:
        return None
    first_word, last_word = example["span"]
    first = first_piece[first_word]
    last = first_piece[last_word + 1] - 1 if last_word + 1 < len(first_piece) else len(pieces) - 1
    return (first, last) if chinese else refine(pieces, first, last, tokenizer.tokenize(example["answer"]))


def padded(values, length):
    return values + [0] * (length - len(values))


def windows(found, tokenizer, sizes, chinese):
    """Returns the window dicts of the examples `found`: the record and the inputs of decoding."""
    all_windows = []
    for number, example in enumerate(found):
        question = tokenizer.tokenize(example["question"])[: sizes.max_query_length]
        pieces, word_of, first_piece = [], [], []
        for word_number, word in enumerate(example["words"]):
            first_piece.append(len(pieces))
            for piece in tokenizer.tokenize(word):
                pieces.append(piece)
                word_of.append(word_number)
        answer = answer_pieces(example, tokenizer, pieces, first_piece, chinese)
        spans = window_starts(len(pieces), sizes.max_seq_length - len(question) - 3, sizes.doc_stride)
        for span_number, (start, length) in enumerate(spans):
            tokens, segments, span_mask = ["[CLS]"], [0], [1]
            word_at, most_context = {}, {}
            for piece in question:
                tokens.append(piece)
                segments.append(0)
                span_mask.append(0)
            tokens.append("[SEP]")
            segments.append(0)
            span_mask.append(0)
            for place in range(start, start + length):
                word_at[len(tokens)] = word_of[place]
                most_context[len(tokens)] = has_most_context(spans, span_number, place)
                tokens.append(pieces[place])
                segments.append(1)
                span_mask.append(1)
            tokens.append("[SEP]")
            segments.append(1)
            span_mask.append(0)
            first, last = 0, 0
            if answer is not None and answer[0] >= start and answer[1] <= start + length - 1:
                first, last = (place - start + len(question) + 2 for place in answer)
            full = sizes.max_seq_length
            all_windows.append(
                dict(
                    example=number,
                    tokens=tokens,
                    word_at=word_at,
                    most_context=most_context,
                    record=dict(
                        unique_ids=[FIRST_UNIQUE_ID + len(all_windows)],
                        input_ids=padded([tokenizer.ids[token] for token in tokens], full),
                        input_mask=padded([1] * len(tokens), full),
                        segment_ids=padded(segments, full),
                        input_span_mask=padded(span_mask, full),
                        start_positions=[first],
                        end_positions=[last],
                    ),
                )
            )
    return all_windows


def write_records(path, all_windows, names):
    """Writes the fields `names` of the windows as TFRecords."""
    with tf.python_io.TFRecordWriter(path) as writer:
        for window in all_windows:
            features = collections.OrderedDict()
            for name in names:
                values = tf.train.Int64List(value=window["record"][name])
                features[name] = tf.train.Feature(int64_list=values)
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


# Logits to answers.


def letters_only(text):
    """Returns `text` without spaces, and for the place of each letter left the place it had."""
    letters, places = [], {}
    for place, char in enumerate(text):
        if char != " ":
            places[len(letters)] = place
            letters.append(char)
    return "".join(letters), places


def project(text, original, joiner, lower):
    """Returns the part of `original` tokenized to `text`; all if they cannot be aligned."""
    tokenized = joiner.join(basic_tokens(original, lower))
    start = tokenized.find(text)
    if start == -1:
        return original
    end = start + len(text) - 1
    letters, places = letters_only(original)
    tokenized_letters, tokenized_places = letters_only(tokenized)
    if len(letters) != len(tokenized_letters):
        return original
    letter_at = {place: letter for letter, place in tokenized_places.items()}
    if start not in letter_at or end not in letter_at:
        return original
    return original[places[letter_at[start]] : places[letter_at[end]] + 1]


def text_of(window, words, start, end, joiner, lower):
    joined = joiner.join(window["tokens"][start : end + 1]).replace(" ##", "").replace("##", "")
    original = joiner.join(words[window["word_at"][start] : window["word_at"][end] + 1])
    return project(" ".join(joined.split()), original, joiner, lower)


def best_places(logits, size):
    ranked = sorted(enumerate(logits), key=lambda pair: pair[1], reverse=True)
    return [place for place, _ in ranked[:size]]


def allowed_pairs(window, starts, ends, rules):
    for start in best_places(starts, rules.n_best_size):
        for end in best_places(ends, rules.n_best_size):
            if start not in window["word_at"] or end not in window["word_at"]:
                continue
            if not window["most_context"][start]:
                continue
            if end < start or end - start + 1 > rules.max_answer_length:
                continue
            yield start, end


def n_best(example, its_windows, logits, rules, chinese, lower):
    """Returns the n-best list of one question and its null entry (None without SQuAD 2.0)."""
    joiner = "" if chinese else " "
    pairs, null = [], None
    for window, (starts, ends) in zip(its_windows, logits):
        if rules.with_negatives and (null is None or starts[0] + ends[0] < null.start_logit + null.end_logit):
            null = Entry("", starts[0], ends[0], 0, 0)
        for start, end in allowed_pairs(window, starts, ends, rules):
            pairs.append((starts[start], ends[end], window, start, end))
    if rules.with_negatives:
        null = null or Entry("", 0.0, 0.0, 0, 0)
        pairs.append((null.start_logit, null.end_logit, None, 0, 0))
    entries, seen = [], set()
    for start_logit, end_logit, window, start, end in sorted(pairs, key=lambda pair: pair[0] + pair[1], reverse=True):
        if len(entries) >= rules.n_best_size:
            break
        text = text_of(window, example["words"], start, end, joiner, lower) if window else ""
        if text not in seen:
            seen.add(text)
            entries.append(Entry(text, start_logit, end_logit, start, end))
    if null is not None and "" not in seen:
        entries.append(null)
    return entries or [Entry("empty", 0.0, 0.0, 0, 0)], null


def softmax(scores):
    largest, powers, total = max(scores), [], 0.0
    for score in scores:
        powers.append(math.exp(score - largest))
        total += powers[-1]
    return [power / total for power in powers]


def answer(example, its_windows, logits, rules, chinese, lower):
    """Returns (text, list of n-best dicts, null odds or None) of one question.

    Args:
      its_windows: the question's windows.
      logits: (start logits, end logits) of each of these, lists of floats.
    """
    entries, null = n_best(example, its_windows, logits, rules, chinese, lower)
    listed = []
    for entry, probability in zip(entries, softmax([entry.start_logit + entry.end_logit for entry in entries])):
        row = collections.OrderedDict(
            [
                ("text", entry.text),
                ("probability", probability),
                ("start_logit", entry.start_logit),
                ("end_logit", entry.end_logit),
            ]
        )
        if chinese:
            row.update(start_index=entry.start_index, end_index=entry.end_index)
        listed.append(row)
    with_text = [entry for entry in entries if entry.text]
    if null is not None:
        best = with_text[0].start_logit + with_text[0].end_logit if with_text else 0.0
        odds = null.start_logit + null.end_logit - best
        return with_text[0].text if with_text and odds <= rules.null_threshold else "", listed, odds
    if chinese:
        return with_text[0].text if with_text else "", listed, None
    return entries[0].text, listed, None


def write_answers(found, all_windows, logits_of, rules, chinese, lower, paths):
    """Writes the answers of one cell.

    Args:
      found: examples.
      all_windows: what `windows` returned for them.
      logits_of: `logits_of(number of a window)` -> its (start logits, end logits).
      paths: {"predictions": path, "nbest": path} and, with SQuAD 2.0, null_odds.
    """
    windows_of = collections.defaultdict(list)
    for number, window in enumerate(all_windows):
        windows_of[window["example"]].append(number)
    results = {what: collections.OrderedDict() for what in paths}
    for number, example in enumerate(found):
        rows = windows_of[number]
        text, listed, odds = answer(
            example, [all_windows[row] for row in rows], [logits_of(row) for row in rows], rules, chinese, lower
        )
        results["predictions"][example["id"]] = text
        results["nbest"][example["id"]] = listed
        if odds is not None:
            results["null_odds"][example["id"]] = odds
    for what, path in paths.items():
        with open(path, "w", encoding="utf-8") as writer:
            escaped = not (chinese and what == "predictions")
            writer.write(json.dumps(results[what], indent=4, ensure_ascii=escaped) + "\n")
