# SPDX-License-Identifier: Apache-2.0
"""Checks the model as a TPU runs it, compiled by XLA for the CPU, against the plain graph.

A TPU sums gradients over its cores with an op that no other device has; the tests replace it by
the sum over a single core.
"""

import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tiny
from tensorflow.python.framework import kernels
from tensorflow_internals import tpu, xla

import modeling
from mrc import cells, datasets
from mrc.experiment import forward_pass, training
from mrc.model import estimator
from mrc.util import tensorflow_versions

BATCH, STEPS, CORES = 2, 3, 2
SCHEDULE = estimator.Schedule(peak_rate=0.01, num_steps=4, num_warmup_steps=2)
CELLS = {"single": cells.read_cells("p2q", "1", 2), "grid": cells.read_cells("all,q2+q2p+p2q+p2", "0,0+1", 2)}
FORMS = ["training"] + sorted(CELLS)
DATASETS = {"squad": datasets.SQUAD, "cmrc": datasets.CMRC2018}
# What stands around the model on a TPU, for which the CPU has nothing to compile.
TPU_OPS = {"CrossReplicaSum", "TPUReplicateMetadata", "TPUReplicatedInput", "TPUReplicatedOutput", "TPUCompilationResult"}


@pytest.fixture(scope="module")
def batches(paths, tmp_path_factory):
    """Gives a function that returns the first batches of a form's TPU input: arrays, after a check
    of their shapes.
    """

    def read(data, form):
        folder = str(tmp_path_factory.mktemp("records"))
        run = make_run(paths, data, folder)
        if form == "training":
            path = training.write_records(training.make_windows(run), run.dataset, folder, {})
            input_fn = training.make_input_fn(path, run.dataset, run.options.max_seq_length, seed=1)
        else:
            windows = forward_pass.make_windows(run)
            input_fn = forward_pass.make_tpu_input_fn(windows, [range(BATCH)], folder, {})
        with tf.Graph().as_default(), tf.Session() as session:
            batch = tf.data.make_one_shot_iterator(input_fn({"batch_size": BATCH})).get_next()
            assert all(tensor.shape.is_fully_defined() and tensor.dtype == tf.int32 for tensor in batch.values())
            return [session.run(batch) for _ in range(STEPS if form == "training" else 1)]

    return read


def make_run(paths, data, folder):
    flags = tiny.model_flags(
        paths, output_dir=folder, do_train=True, do_predict=True, train_file=paths[data], predict_file=paths[data]
    )
    return tiny.read_inputs(DATASETS[data], **flags)


def make_model_fn(paths, data, form, use_tpu, config=None):
    """Returns `run(features)`, which builds a form of the reader and returns the spec."""
    config, checkpoint = config or tiny.config(), paths["init_checkpoint"]
    if form == "training":
        model_fn = estimator.training_model_fn(config, DATASETS[data], SCHEDULE, checkpoint, use_tpu, seed=1)
    else:
        model_fn = estimator.prediction_model_fn(config, DATASETS[data], CELLS[form], 5, checkpoint, use_tpu=use_tpu)
    mode = tf.estimator.ModeKeys.TRAIN if form == "training" else tf.estimator.ModeKeys.PREDICT
    return lambda features: model_fn(features, None, mode, {"output_dir": "nowhere"})


def outputs(spec):
    """Returns {name: tensor} of what a step of training, or a prediction, gives."""
    if spec.train_op is None:
        return spec.predictions
    with tf.control_dependencies([spec.train_op]):
        return {"loss": tf.identity(spec.loss)}


def run_steps(build, arrays, compiled):
    """Returns what each batch of `arrays` gives, and the variables after the last one."""
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(1)  # of the span head, which the checkpoint lacks in part
        with tf.variable_scope("", use_resource=compiled):
            tf.train.get_or_create_global_step()
        inputs = {name: tf.placeholder(array.dtype, array.shape) for name, array in arrays[0].items()}
        if compiled:
            names, found, specs = sorted(inputs), [], []

            def computation(*tensors):
                specs.append(build(dict(zip(names, tensors))))
                result = outputs(specs[0])
                found.extend(sorted(result))
                return [result[name] for name in found]

            results = dict(zip(found, xla.compile(computation, [inputs[name] for name in names])))
            specs[0].scaffold_fn()
        else:
            results = outputs(build(inputs))
        session.run(tf.global_variables_initializer())
        values = [session.run(results, {inputs[name]: array for name, array in batch.items()}) for batch in arrays]
        return values, tiny.variable_values(session)


def sum_over_one_core(monkeypatch):
    """Puts the sum over a single core in the place of the TPU's own op.

    Returns the list of what was summed.
    """
    summed = []

    def keep(tensor, *_):
        summed.append(tensor)
        return tensor

    monkeypatch.setattr(sys.modules[tensorflow_versions.CrossShardOptimizer.__module__].tpu_ops, "cross_replica_sum", keep)
    return summed


@pytest.mark.parametrize("data", sorted(DATASETS))
def test_training(paths, batches, monkeypatch, data):
    arrays = batches(data, "training")
    plain, wanted = run_steps(make_model_fn(paths, data, "training", use_tpu=False), arrays, compiled=False)
    summed = sum_over_one_core(monkeypatch)
    losses, variables = run_steps(make_model_fn(paths, data, "training", use_tpu=True), arrays, compiled=True)
    np.testing.assert_allclose([step["loss"] for step in losses], [step["loss"] for step in plain], rtol=1e-4)
    assert set(variables) == set(wanted) and variables["global_step"] == STEPS
    moved = [name for name in wanted if name + "/adam_m" in wanted]
    assert len(summed) == len(moved) and len(moved) > 30
    for name, array in wanted.items():
        assert np.linalg.norm(variables[name] - array) < 1e-2 * np.linalg.norm(array) + 1e-5, name


@pytest.mark.parametrize("data", sorted(DATASETS))
@pytest.mark.parametrize("form", sorted(CELLS))
def test_prediction(paths, batches, data, form):
    arrays = batches(data, form)
    plain, _ = run_steps(make_model_fn(paths, data, form, use_tpu=False), arrays, compiled=False)
    found, _ = run_steps(make_model_fn(paths, data, form, use_tpu=True), arrays, compiled=True)
    for got, wanted in zip(found, plain):
        assert set(got) == set(wanted) and got["start_places"].shape == (BATCH, len(CELLS[form]), 5)
        for name, values in wanted.items():
            if values.dtype.kind == "i":
                np.testing.assert_array_equal(got[name], values, err_msg=name)
            else:  # `all` adds -10000 to scores, of which a float32 keeps three decimals
                np.testing.assert_allclose(got[name], values, atol=5e-3, err_msg=name)
                np.testing.assert_allclose(np.median(np.abs(got[name] - values)), 0, atol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def on_cores(paths, batches):
    """Gives a function that builds a form as TPUEstimator does on two cores and returns its ops."""

    def build(data, form):
        config = tiny.config(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
        run = make_model_fn(paths, data, form, True, config)
        arrays = batches(data, form)
        names = sorted(arrays[0])
        with tf.Graph().as_default() as graph:
            with tf.variable_scope("", use_resource=True):
                tf.train.get_or_create_global_step()
            tpu.replicate(
                lambda *tensors: sorted(outputs(run(dict(zip(names, tensors)))).values(), key=lambda t: t.name),
                [[tf.constant(arrays[0][name]) for name in names]] * CORES,
            )
            return [op for op in graph.get_operations() if "_tpu_replicate" in op.node_def.attr]

    return build


@pytest.mark.parametrize("data", sorted(DATASETS))
@pytest.mark.parametrize("form", FORMS)
def test_no_dimension_is_dynamic(on_cores, data, form):
    # XLA derives the axes that a gradient is summed over from static shapes.
    tensors = [tensor for op in on_cores(data, form) if op.type != "BroadcastGradientArgs" for tensor in op.outputs]
    assert len(tensors) > 300
    assert [tensor.name for tensor in tensors if not tensor.shape.is_fully_defined()] == []


def compilable_ops():
    """Returns the ops that XLA compiles for the CPU.

    TensorFlow's packages know the list of no TPU; nearest is the CPU's, as nearly all ops are made
    of the same XLA code for every device. The kernels are known once something was compiled.
    """
    with tf.Graph().as_default(), tf.Session() as session:
        session.run(xla.compile(lambda x: x + 1.0, [tf.constant(0.0)]))
    return {kernel.op for kernel in kernels.get_all_registered_kernels().kernel if kernel.device_type == "XLA_CPU_JIT"}


@pytest.mark.parametrize("data", sorted(DATASETS))
@pytest.mark.parametrize("form", FORMS)
def test_every_op_is_compilable(on_cores, data, form):
    used, known = {op.type for op in on_cores(data, form)}, compilable_ops()
    assert {"MatMul", "OneHot", "TopKV2", "StatelessRandomUniform"} <= known
    assert {"OneHot", "Softmax"} <= used and not {"GatherV2", "ResourceGather"} & used  # words are looked up by a product
    assert ("CrossReplicaSum" in used) == (form == "training")
    assert used - known - TPU_OPS == set()


def dropout_seeds(paths, monkeypatch, arrays, use_tpu, step):
    """Returns the seeds [calls, 2] of the dropout in a step of training on one core."""
    seeds, draw = [], tf.random.stateless_uniform

    def watched(shape, seed):
        seeds.append(seed)
        return draw(shape, seed)

    sum_over_one_core(monkeypatch)
    config = tiny.config(num_hidden_layers=1, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    with monkeypatch.context() as patched, tf.Graph().as_default(), tf.Session() as session:
        patched.setattr(modeling.tf.random, "stateless_uniform", watched)
        counted = tf.train.get_or_create_global_step()
        make_model_fn(paths, "squad", "training", use_tpu, config)(
            {name: tf.constant(array) for name, array in arrays.items()}
        )
        session.run(tf.global_variables_initializer())
        session.run(tf.assign(counted, step))
        return np.array(session.run(seeds))


def test_each_core_drops_other_units(paths, batches, monkeypatch):
    def seeds(core, step):
        return dropout_seeds(paths, monkeypatch, arrays[core], True, step)

    arrays = batches("squad", "training")
    one = seeds(0, 7)
    assert len({tuple(seed) for seed in one.tolist()}) == 4  # the embeddings, and three times in a layer
    np.testing.assert_array_equal(one, seeds(0, 7))
    for other in (seeds(1, 7), seeds(0, 8)):
        assert not {tuple(seed) for seed in one.tolist()} & {tuple(seed) for seed in other.tolist()}


def test_without_a_tpu_what_is_dropped_depends_on_the_step_alone(paths, batches, monkeypatch):
    arrays = batches("squad", "training")
    found = [dropout_seeds(paths, monkeypatch, arrays[batch], False, 7) for batch in (0, 1)]
    np.testing.assert_array_equal(*found)
    assert set(found[0][:, 1]) == {7}
