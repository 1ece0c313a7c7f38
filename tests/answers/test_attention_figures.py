# SPDX-License-Identifier: Apache-2.0
"""Tests of visualize_attention.py: panels, maps, contact sheets and the interactive page."""

import base64
import itertools
import json
import re
import shutil
import subprocess
from xml.etree import ElementTree

import numpy as np
import pytest
import tiny

from mrc import datasets
from mrc.answers import attention_tables
from mrc.cells import Label
from mrc.experiment import attention_window
from mrc.experiment import run as experiment
from mrc.figures import attention_map, attention_page, figure_files

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
GRID = dict(do_predict=True, mask_zone="q2,p2", mask_layer="each")
F1 = datasets.SQUAD.answer_f1


@pytest.fixture(scope="module")
def folders(paths, tmp_path_factory):
    """Output folders of a grid, {dataset: path}."""
    made = {}
    for dataset, data in ((datasets.SQUAD, "squad"), (datasets.CMRC2018, "cmrc")):
        folder = tmp_path_factory.mktemp(data)
        flags = tiny.model_flags(paths, output_dir=str(folder), predict_file=paths[data])
        experiment.run(dataset, tiny.flag_values(**dict(flags, **GRID)))
        made[data] = str(folder)
    return made


def masked_answers(folder, question):
    return attention_window.masked_answers(folder, question, attention_window.read_inputs(folder))


def read_window(folder, question, number=None):
    return attention_window.read_window(attention_window.read_inputs(folder), question, number)


@pytest.mark.parametrize("data, question", [("squad", "boat"), ("cmrc", "TINY_1")])
def test_a_window_has_the_answer_of_the_run(folders, data, question):
    window = read_window(folders[data], question)
    answers = masked_answers(folders[data], question)
    assert window.answer == answers[Label()] and len(answers) == 5
    assert window.attention.shape == (2, 2) + 2 * (len(window.tokens),)
    np.testing.assert_allclose(window.attention.sum(axis=-1), 1.0, atol=1e-5)
    first, last = window.predicted
    if data == "cmrc":
        assert "".join(window.tokens[first : last + 1]) == window.answer
    assert window.tokens[0] == "[CLS]" and window.tokens[-1] == "[SEP]"
    assert window.groups[0] == 2 and window.groups[-1] == 3


def test_gold_answers_are_found_in_their_window(folders):
    found = [read_window(folders["squad"], "boat", number) for number in range(2)]
    every = found + [read_window(folders["squad"], "boat", n) for n in range(2, found[0].of)]
    spelled = {" ".join(window.tokens[first : last + 1]) for window in every for first, last in window.gold}
    assert spelled == {"eclair"} and every[0].gold_answers == ["Éclair"]


def test_the_mean_of_windows_is_the_attention_table(paths, folders, tmp_path):
    flags = tiny.model_flags(paths, output_dir=str(tmp_path), predict_file=paths["squad"])
    experiment.run(datasets.SQUAD, tiny.flag_values(do_attention=True, **flags))
    masses = attention_tables.read(str(tmp_path / "attention.csv"))
    inputs = attention_window.read_inputs(str(tmp_path))
    sums, count = np.zeros([2, 2]), 0
    for example in inputs.prediction_examples:
        number, of = 0, 1
        while number < of:
            window = attention_window.read_window(inputs, example.id, number)
            queries, of = window.groups == 0, window.of
            sums += window.attention[:, :, queries][..., window.groups == 1].sum(axis=(2, 3))
            count, number = count + queries.sum(), number + 1
    np.testing.assert_allclose(masses["question", "passage"], sums / count, atol=1e-5)


def test_bytes_keep_small_and_large_probabilities():
    probabilities = np.array([0.0, 0.0005, 0.002, 0.1, 1.0])
    again = (attention_page.quantise(probabilities) / 255.0) ** 2
    assert np.abs(again - probabilities).max() < 0.002 and again[1] > 0.0 and again[-1] == 1.0


def test_strongest_links_skip_special_tokens():
    groups = np.array([2, 0, 3, 1, 1, 3])
    values = np.zeros([6, 6])
    values[1, 0], values[1, 3], values[4, 1] = 0.9, 0.4, 0.6
    assert attention_map.strongest(values, groups) == [(4, 1), (1, 3)]
    assert attention_map.borders(groups) == [1, 2, 3, 5]


@pytest.mark.parametrize(
    "name, words",
    [
        ("map.png", ["--layer=1", "--head=0"]),
        ("map.pdf", []),
        ("sheet.svg", ["--layer=0,1", "--head=each,mean", "--window=0"]),
    ],
)
@pytest.mark.parametrize("data, question", [("squad", "boat"), ("cmrc", "TINY_1")])
def test_maps_are_written(command_lines, folders, tmp_path, data, question, name, words):
    path = tmp_path / name
    code, _, stderr, _ = command_lines.run(
        "visualize_attention.py", f"--question={question}", *words, folders[data], str(path)
    )
    assert code == 0 and "Traceback" not in stderr, stderr
    assert path.read_bytes().startswith({"map.png": b"\x89PNG", "map.pdf": b"%PDF", "sheet.svg": b"<?xml"}[name])


@pytest.mark.parametrize("question", ["a\x01\ufffe", "a\ud800", "a\u200b$x$ 中"])
def test_maps_of_odd_texts_are_xml(folders, tmp_path, question):
    window = read_window(folders["squad"], "boat")._replace(question=question, answer=question)
    window = window._replace(tokens=[question] * len(window.tokens), gold_answers=[question])
    mean = window.attention.mean(axis=(0, 1))
    for number, figure in enumerate(
        [attention_map.draw_map(window, mean, question), attention_map.draw_sheet(window, [mean], [question])]
    ):
        path = tmp_path / f"{number}.svg"
        figure_files.save(figure, str(path), question)
        assert ElementTree.parse(str(path)).getroot().tag.endswith("svg")


def test_panels_show_the_logarithm_of_the_lift_or_the_mass():
    masses = np.full([3, 4, 4, 5], 0.2)
    masses[2, 1, 0, 1] = 0.8
    # A window of two tokens of each group: uniform attention has a mass of 1/4 on each.
    uniform = attention_tables.uniform_attention(np.full([1, 4], 2.0))
    pairs = list(itertools.product(attention_tables.QUERY_GROUPS, attention_tables.KEY_GROUPS))
    by_pair = {(query, key): masses[:, :, at // 5, at % 5] for at, (query, key) in enumerate(pairs)}
    expected = {pair: np.full([3, 4], uniform.masses[0, 0]) for pair in pairs}
    q2, q2p, *_, special = attention_map.panels_of(by_pair, expected, "a")
    assert q2p.title == "q2p: question to passage" and "lift" in q2p.about
    np.testing.assert_allclose(q2.changes, np.log2(0.2 / 0.25))
    assert q2p.changes[2, 1] == pytest.approx(np.log2(0.8 / 0.25))
    np.testing.assert_allclose(special.changes, np.log2(0.4 / 0.5))
    of_mass = attention_map.panels_of(by_pair, None, "a")[1]
    assert of_mass.changes[2, 1] == 0.8 and of_mass.about == "a: attention mass"


def test_labels_of_a_map_are_the_answers_and_the_strongest_keys(folders):
    window = read_window(folders["squad"], "boat")._replace(
        tokens=[str(place) for place in range(100)], gold=[(50, 51)], predicted=(90, 90)
    )
    weights = np.zeros(100)
    weights[[10, 11, 52, 70]] = 4.0, 3.0, 2.0, 1.0
    # Room for 20 labels: 5 tokens apart; 51, 11 and 52 are too close to stronger ones.
    labels = attention_map.labelled(window, weights, 20)
    assert {10, 50, 70, 90} <= set(labels) and not {11, 51, 52} & set(labels)
    assert min(np.diff(labels)) >= 5
    assert attention_map.labelled(window, weights, 100) == list(range(100))


def test_a_map_names_what_it_shows(folders):
    window = read_window(folders["squad"], "boat")
    values = window.attention[0, 0]
    for show, factor in ((attention_map.LIFT, len(window.tokens)), (attention_map.MASS, 1)):
        figure = attention_map.draw_map(window, values, "layer 1, head 1", show, 6.3)
        np.testing.assert_allclose(figure.axes[0].images[0].get_array(), values * factor)
        assert figure.texts[1].get_text().startswith(f"{show} of attention, layer 1, head 1")
        assert figure.get_size_inches()[0] == 6.3


def test_panels_are_written(command_lines, tmp_path):
    text = attention_tables.to_csv(
        np.full([3, 4, 4, 5], 0.2), np.zeros([3, 4, 4]), attention_tables.uniform_attention(np.ones([1, 4]))
    )[0]
    (tmp_path / "attention.csv").write_text(text, encoding="utf-8")
    path = tmp_path / "panels.png"
    code, _, stderr, _ = command_lines.run("visualize_attention.py", str(tmp_path / "attention.csv"), str(path))
    assert code == 0, stderr
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "words, wanted",
    [
        (["--question=nobody"], "there is no question nobody in"),
        (["--question=boat", "--layer=2"], 'there is no layer "2"; the layers are 0 to 1'),
        (["--question=boat", "--head=x"], 'there is no head "x"; the heads are 0 to 1'),
        (["--question=boat", "--head=²"], 'there is no head "²"; the heads are 0 to 1'),
        (["--question=boat", "--window=99"], "--window=99: question boat has"),
    ],
)
def test_a_wrong_question_layer_or_head_is_refused(command_lines, folders, tmp_path, words, wanted):
    code, _, stderr, _ = command_lines.run("visualize_attention.py", *words, folders["squad"], str(tmp_path / "map.png"))
    assert code == 2 and wanted in stderr and "Traceback" not in stderr


def page_of(folder, question):
    window = read_window(folder, question)
    answers = masked_answers(folder, question)
    return window, answers, attention_page.make(window, answers, "reader", F1)


def test_a_page_is_whole_and_needs_no_network(folders):
    window, answers, page = page_of(folders["squad"], "boat")
    assert "PAGE_DATA" not in page and "PAGE_BYTES" not in page
    assert not re.search(r"https?://|src=|@import", page)
    data = json.loads(re.search(r"const page = (\{.*\});", page).group(1))
    assert data["tokens"] == window.tokens and data["answer"] == window.answer
    names = ["no mask", "p2, layer 1", "q2, layer 1", "p2, layer 2", "q2, layer 2"]
    assert [name for name, *_ in data["masked"]] == names
    assert [text for _, text, *_ in data["masked"]] == list(answers.values())
    # p2 in layer 1: from passage to passage, the second group.
    assert data["masked"][1][3:] == [[0], [[1, 1]]]
    encoded = re.search('type="text/plain">(.*)</script>', page).group(1)
    raw = np.frombuffer(base64.b64decode(encoded), np.uint8)
    np.testing.assert_array_equal(raw.reshape(window.attention.shape), attention_page.quantise(window.attention))


def test_text_that_ends_a_script_does_not_end_the_page(folders):
    window = read_window(folders["squad"], "boat")._replace(question="</script><b>")
    assert "</script><b>" not in attention_page.make(window, {}, "reader", F1)


def test_text_that_names_a_placeholder_stays_as_it_is(folders):
    question = "What are PAGE_BYTES?"
    page = attention_page.make(read_window(folders["squad"], "boat")._replace(question=question), {}, "reader", F1)
    data = json.loads(re.search(r"const page = (\{.*\});", page).group(1))
    assert data["question"] == question and page.count("PAGE_BYTES") == 1


@pytest.mark.parametrize("tokens, megabytes", [(170, 10), (512, 60)])
def test_the_size_of_a_page_is_bounded(folders, tokens, megabytes):
    window = read_window(folders["squad"], "boat")._replace(
        tokens=["a"] * tokens, groups=np.ones(tokens, int), attention=np.zeros([12, 12, tokens, tokens], np.float32)
    )
    assert len(attention_page.make(window, {}, "reader", F1)) < megabytes * 10**6


# Appended to a page: uses it by keys and clicks, then hovers a token, and writes what it shows into
# the document.
_HOVER = """<script>
const press = key => document.activeElement.dispatchEvent(
  new KeyboardEvent("keydown", {key, bubbles: true}));
spans[0].focus();
["ArrowRight", "ArrowRight", "Enter", "ArrowRight"].forEach(press);
const steps = [chosen, location.hash];
document.querySelector("#heads button[data-layer='0'][data-head='1']").click();
document.querySelectorAll("#maskedTable button")[3].click();
steps.push(page.masked[mask][0], location.hash);
press("Escape");
steps.push(chosen, mask, document.documentElement.scrollWidth <= innerWidth);
document.body.setAttribute("data-steps", JSON.stringify(steps));
window.onerror = message => document.body.setAttribute("data-error", message);
byId("layer").value = "1"; byId("head").value = "0"; load();
spans[3].dispatchEvent(new Event("mouseenter"));
document.body.setAttribute("data-shown", JSON.stringify(spans.map(span => span.title)));
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_keys_clicks_and_hovering_in_a_browser(folders, tmp_path):
    window, _, page = page_of(folders["squad"], "boat")
    path = tmp_path / "page.html"
    path.write_text(page.replace("</body>", _HOVER + "</body>"), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += ["--enable-logging=stderr", f"--user-data-dir={tmp_path}/profile", path.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=120)
    document, log = done.stdout.decode("utf-8"), done.stderr.decode("utf-8", "replace")
    assert "data-error" not in document.split("<script")[0] and "CONSOLE" not in log
    steps = re.search('data-steps="(.*?)"', document).group(1).replace("&quot;", '"')
    assert json.loads(steps.replace("&amp;", "&")) == [
        2,
        "#layer=2&head=mean&direction=to&token=2",
        "p2, layer 2",
        "#layer=2&head=2&direction=to&token=2&mask=p2%2C+layer+2",
        None,
        None,
        True,
    ]
    shown = re.search('data-shown="(.*?)"', document).group(1).replace("&quot;", '"')
    expected = (attention_page.quantise(window.attention[1, 0, 3]) / 255.0) ** 2
    assert json.loads(shown) == [f"{value:.4f}" for value in expected]
