# SPDX-License-Identifier: Apache-2.0
"""The reader as a TPUEstimator, which runs the same model on TPU, GPU and CPU."""

import functools
from typing import NamedTuple, Optional, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

import modeling
import optimization
from mrc.model import attention_sums, cpu_ops, micro_batches, precision, span_model
from mrc.util import aliases, tensorflow_versions
from mrc.util.tensorflow_versions import (
    InputPipelineConfig,
    RunConfig,
    TPUClusterResolver,
    TPUConfig,
    TPUEstimator,
    TPUEstimatorSpec,
)

STEPS_BETWEEN_SUMMARIES = 100


class Schedule(NamedTuple):
    """Learning rate of a training: its peak, and the steps of the training and of its warm-up."""

    peak_rate: float
    num_steps: int
    num_warmup_steps: int


class TpuOptions(NamedTuple):
    """Where the model runs: a TPU with its address, or the GPU or CPU of this machine."""

    use_tpu: bool
    tpu_name: Optional[str]
    tpu_zone: Optional[str]
    gcp_project: Optional[str]
    master: Optional[str]
    num_tpu_cores: int
    iterations_per_loop: int

    def resolver(self):
        """Returns the cluster resolver of the Cloud TPU, or None."""
        if self.use_tpu and self.tpu_name:
            return TPUClusterResolver(self.tpu_name, zone=self.tpu_zone, project=self.gcp_project)
        return None


def _tpu_summaries(output_dir, **scalars):
    """Returns the host call that writes `scalars` to TensorBoard, which a TPU itself cannot do."""
    names = sorted(scalars)

    def write(step, *values):
        means = {name: tf.reduce_mean(value) for name, value in zip(names, values)}
        return tensorflow_versions.write_scalars(output_dir, step[0], means)

    step = tf.reshape(tf.train.get_global_step(), [1])
    return write, [step] + [tf.reshape(scalars[name], [1]) for name in names]


def _initialize_from(checkpoint, use_tpu):
    """Initializes the variables that `checkpoint` holds from it.

    Returns the scaffold function for a TPU.
    """
    checkpoint = aliases.plain_path(checkpoint)
    in_checkpoint = dict(tf.train.list_variables(checkpoint))
    names = [variable.op.name for variable in tf.trainable_variables()]
    names = {name: name for name in names if name in in_checkpoint}
    if not use_tpu:
        tf.train.init_from_checkpoint(checkpoint, names)
        return None

    def scaffold():
        tf.train.init_from_checkpoint(checkpoint, names)
        return tf.train.Scaffold()

    return scaffold


def step_of_core(step, input_ids):
    """Returns a dropout step that differs between the cores of a TPU, which read other windows.

    All cores run one program, so a dropout that depends on the step alone would drop the same units
    on each.

    Args:
      step: the training step, a scalar integer.
      input_ids: the windows that this core reads, `[B, T]` with a static shape.
    """
    size = input_ids.shape.num_elements()
    # 2654435761 = 2^32 / golden ratio (Knuth, vol. 3, section 6.4)
    odd = (2 * np.arange(size, dtype=np.uint64) + 1) * 2654435761 % 2**32
    factors = odd.astype(np.uint32).view(np.int32).reshape(input_ids.shape.as_list())
    return tf.cast(step, tf.int32) + tf.reduce_sum(input_ids * factors)  # wraps around at 32 bits


def runs_on_cpu(use_tpu: bool) -> bool:
    """Whether the model runs on the CPU of this machine."""
    return not use_tpu and not tf.test.is_gpu_available()


def training_model_fn(
    config,
    dataset,
    schedule: Schedule,
    init_checkpoint: Optional[str] = None,
    use_tpu: bool = False,
    seed: int = 0,
    hooks: Sequence = (),
    micro_batch_size: Optional[int] = None,
    trim_padding: bool = False,
    precision_name: str = precision.FLOAT32,
):
    """Returns the model function of training.

    Args:
      config: the `BertConfig`.
      dataset: the `datasets.Dataset`.
      schedule: of the learning rate.
      init_checkpoint: path of the initial weights, or None.
      use_tpu: whether the model runs on a TPU.
      seed: of the dropout.
      hooks: `SessionRunHook`s of the training.
      micro_batch_size: windows of a batch that are computed together, at most; None for all.
      trim_padding: whether to cut batches to their longest window.
      precision_name: of the products (see `precision`).
    """

    def model_fn(features, labels, mode, params):
        del labels
        step = tf.train.get_or_create_global_step()
        if use_tpu:
            step = step_of_core(step, features["input_ids"])
        if runs_on_cpu(use_tpu):
            cpu_ops.keep_freed_memory()

        def make_model(first=None):
            bert = modeling.Bert(
                config,
                modeling.Dropout(seed, step, first),
                one_hot_embeddings=use_tpu,
                convert=functools.partial(precision.converted, name=precision_name, once=False),
            )
            return span_model.SpanModel(bert, dataset.masks_question)

        model = make_model()  # creates the variables
        scaffold_fn = _initialize_from(init_checkpoint, use_tpu) if init_checkpoint else None
        if trim_padding:
            features = span_model.trimmed(features)
        if micro_batch_size is None:
            loss, norm = model.training_loss(features), None
            gradients = tf.gradients(loss, tf.trainable_variables())
        else:
            size = micro_batches.part_size(features["input_ids"].shape.as_list()[0], micro_batch_size)
            loss, gradients, norm = micro_batches.mean_gradients(
                lambda part, first: make_model(first).training_loss(part), features, size
            )
        train_op, rate = optimization.training_op(gradients, use_tpu=use_tpu, norm=norm, **schedule._asdict())
        host_call = None
        if use_tpu:
            host_call = _tpu_summaries(params["output_dir"], learning_rate=rate)
        else:
            tf.summary.scalar("learning_rate", rate)
        return TPUEstimatorSpec(
            mode, loss=loss, train_op=train_op, scaffold_fn=scaffold_fn, host_call=host_call, training_hooks=list(hooks)
        )

    return model_fn


def prediction_model_fn(
    config,
    dataset,
    cells,
    size: int,
    init_checkpoint: Optional[str] = None,
    trim_padding: bool = False,
    use_tpu: bool = False,
    precision_name: str = precision.FLOAT32,
):
    """Returns the model function of prediction.

    Args:
      config: the `BertConfig`.
      dataset: the `datasets.Dataset`.
      cells: the cells of the grid, all in one forward pass.
      size: number of best starts and ends of each window.
      init_checkpoint: path of the weights, or None where the estimator restores others.
      trim_padding: see `SpanModel.best_positions`.
      use_tpu: whether the model runs on a TPU, which needs static shapes.
      precision_name: of the products (see `precision`).
    """

    def model_fn(features, labels, mode, params):
        del labels, params
        ops = modeling.PLAIN_OPS
        if runs_on_cpu(use_tpu):
            cpu_ops.keep_freed_memory()
            ops = cpu_ops.make_ops()
        bert = modeling.Bert(
            config,
            one_hot_embeddings=use_tpu,
            ops=ops,
            convert=functools.partial(precision.converted, name=precision_name, once=not use_tpu),
        )
        model = span_model.SpanModel(bert, dataset.masks_question)
        scaffold_fn = _initialize_from(init_checkpoint, use_tpu) if init_checkpoint else None
        best = model.best_positions(features, cells, size, trim_padding=trim_padding, static_shapes=use_tpu)
        return TPUEstimatorSpec(mode, predictions=best, scaffold_fn=scaffold_fn)

    return model_fn


def attention_model_fn(config, cell, init_checkpoint: Optional[str] = None, use_tpu: bool = False):
    """Returns the model function that sums attention probabilities (see `attention_sums`).

    Args:
      config: the `BertConfig`.
      cell: the `grid_cells.Cell` to run.
      init_checkpoint, use_tpu: as in `prediction_model_fn`.
    """

    def model_fn(features, labels, mode, params):
        del labels, params
        on_cpu = runs_on_cpu(use_tpu)
        if on_cpu:
            cpu_ops.keep_freed_memory()
        sums = attention_sums.attention_sums(config, features, cell, on_cpu, static_shapes=use_tpu)
        scaffold_fn = _initialize_from(init_checkpoint, use_tpu) if init_checkpoint else None
        return TPUEstimatorSpec(mode, predictions=sums, scaffold_fn=scaffold_fn)

    return model_fn


def make_estimator(model_fn, device: TpuOptions, options, predict_batch_size: Optional[int] = None) -> TPUEstimator:
    """Returns the TPUEstimator of the reader.

    Args:
      model_fn: what `training_model_fn` or `prediction_model_fn` returned.
      device: where it runs.
      options: flags `output_dir`, `train_batch_size` (over all cores of a TPU together),
        `save_checkpoints_steps` and `rand_seed` (of the weights that no checkpoint gives).
      predict_batch_size: windows in a batch of prediction, also over all cores; None to train. On a
        CPU, only then does simplifying the graph save more time than it takes.
    """
    config = tensorflow_versions.session_config(
        device.use_tpu, rewrites_graph=not predict_batch_size or not runs_on_cpu(device.use_tpu)
    )
    run_config = RunConfig(
        cluster=device.resolver(),
        master=device.master,
        model_dir=aliases.plain_path(options.output_dir),
        tf_random_seed=options.rand_seed,
        save_checkpoints_steps=options.save_checkpoints_steps,
        save_summary_steps=STEPS_BETWEEN_SUMMARIES,
        log_step_count_steps=None,
        session_config=config,
        tpu_config=TPUConfig(
            iterations_per_loop=device.iterations_per_loop,
            num_shards=device.num_tpu_cores,
            per_host_input_for_training=InputPipelineConfig.PER_HOST_V2,
        ),
    )
    return TPUEstimator(
        model_fn,
        use_tpu=device.use_tpu,
        config=run_config,
        params={"output_dir": options.output_dir},
        train_batch_size=options.train_batch_size,
        predict_batch_size=predict_batch_size,
        eval_on_tpu=False,
    )
