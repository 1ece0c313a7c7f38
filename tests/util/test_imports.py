# SPDX-License-Identifier: Apache-2.0
"""Tests that imports follow the directions of the architecture and have no cycle."""

import ast
import glob
import os

import tiny

BASE = ("attention_mask", "modeling", "tokenization", "optimization")
LEAVES = ("mrc.families", "mrc.variables")  # below modeling.py
SCRIPTS = ("run_", "visualize_", "import_", "correlate", "compare", "report")
LEVELS = {"mrc.util": 0, "mrc.data": 2, "mrc.model": 2, "mrc.answers": 2, "mrc.experiment": 3}


def level(module):
    if module.startswith(SCRIPTS):
        return 4
    return LEVELS.get(".".join(module.split(".")[:2]), 1 if module in BASE + LEAVES else 2)


def imports():
    """Returns {module: set of the project's modules that it imports}."""
    paths = glob.glob(os.path.join(tiny.ROOT, "*.py"))
    paths += glob.glob(os.path.join(tiny.ROOT, "mrc", "**", "*.py"), recursive=True)
    names = {os.path.relpath(path, tiny.ROOT)[:-3].replace(os.sep, "."): path for path in paths}
    graph = {}
    for name, path in names.items():
        with open(path, encoding="utf-8") as reader:
            nodes = list(ast.walk(ast.parse(reader.read())))
        used = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        for node in nodes:
            if isinstance(node, ast.ImportFrom):
                used |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        graph[name] = used & set(names)
    return graph


def test_imports_never_point_upwards():
    wrong = [(a, b) for a, used in imports().items() for b in used if level(a) < level(b)]
    assert not wrong


def test_data_does_not_import_the_model():
    graph = imports()
    wrong = [(a, b) for a in graph for b in graph[a] if a.startswith("mrc.data.")]
    assert not [pair for pair in wrong if pair[1].startswith(("mrc.model", "modeling"))]


def test_imports_have_no_cycle():
    graph = imports()
    while graph:
        free = [name for name, used in graph.items() if not used & set(graph)]
        assert free, f"cycle among {sorted(graph)}"
        for name in free:
            del graph[name]
