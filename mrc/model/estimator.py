# SPDX-License-Identifier: Apache-2.0
"""The reader as a TPUEstimator, which runs the same model on TPU, GPU and CPU."""

import collections

import numpy as np
import tensorflow.compat.v1 as tf

import modeling
import optimization
from mrc.model import cpu_ops, span_model
from mrc.util import progress, tensorflow_versions
from mrc.util.tensorflow_versions import (
    InputPipelineConfig,
    RunConfig,
    TPUClusterResolver,
    TPUConfig,
    TPUEstimator,
    TPUEstimatorSpec,
)

STEPS_BETWEEN_SUMMARIES = 100


class LossHook(tf.train.SessionRunHook):
    """Fetches the loss of each step of a training; `after_run` finds it in the results."""

    def begin(self):
        self._loss = tf.get_collection(tf.GraphKeys.LOSSES)[-1]

    def before_run(self, run_context):
        return tf.train.SessionRunArgs(self._loss)


class TrainingProgress(LossHook):
    """Shows steps, loss, speed and time left of a training.

    Args:
      num_steps: steps of the whole training.
    """

    def __init__(self, num_steps):
        self._num_steps = num_steps

    def after_create_session(self, session, coord):
        del coord
        self._bar = progress.bar(self._num_steps, "training", "step", initial=self._step(session))

    @staticmethod
    def _step(session):
        return int(session.run(tf.train.get_global_step()))

    def after_run(self, run_context, run_values):
        self._bar.set_postfix(loss=f"{run_values.results:.4f}", refresh=False)
        self._bar.update(self._step(run_context.session) - self._bar.n)

    def end(self, session):
        self._bar.close()


def _tpu_summaries(output_dir, **scalars):
    """Returns the host call that writes `scalars`, which a TPU cannot do itself, to TensorBoard."""
    names = sorted(scalars)

    def write(step, *values):
        means = {name: tf.reduce_mean(value) for name, value in zip(names, values)}
        return tensorflow_versions.write_scalars(output_dir, step[0], means)

    step = tf.reshape(tf.train.get_global_step(), [1])
    return write, [step] + [tf.reshape(scalars[name], [1]) for name in names]


def _restore_from(checkpoint, use_tpu):
    """Has the variables that `checkpoint` holds start from it; returns the scaffold function that a TPU needs."""
    in_checkpoint = dict(tf.train.list_variables(checkpoint))
    names = {
        variable.op.name: variable.op.name
        for variable in tf.trainable_variables()
        if variable.op.name in in_checkpoint
    }
    if not use_tpu:
        tf.train.init_from_checkpoint(checkpoint, names)
        return None

    def scaffold():
        tf.train.init_from_checkpoint(checkpoint, names)
        return tf.train.Scaffold()

    return scaffold


def step_of_core(step, input_ids):
    """Returns a whole number that differs from step to step and, as they read other windows, from core to core of a TPU.

    All cores run one program, so that a dropout that depends on the step alone would drop the same units on each.

    Args:
      step: scalar whole-number tensor, the training step.
      input_ids: the windows that this core reads, [B, T], of static shape.
    """
    size = input_ids.shape.num_elements()
    odd = (
        (2 * np.arange(size, dtype=np.uint64) + 1) * 2654435761 % 2**32
    )  # 2^32 / golden ratio (Knuth, vol. 3, 6.4)
    factors = odd.astype(np.uint32).view(np.int32).reshape(input_ids.shape.as_list())
    return tf.cast(step, tf.int32) + tf.reduce_sum(input_ids * factors)  # wraps around at 32 bits


def on_cpu(use_tpu):
    """Whether the model runs on the CPU of this machine."""
    return not use_tpu and not tf.test.is_gpu_available()


def make_model_fn(
    config, dataset, init_checkpoint, training, prediction, use_tpu, seed, training_hooks=()
):
    """Returns the model function of the reader.

    Args:
      config: `BertConfig`.
      dataset: `datasets.Dataset`.
      init_checkpoint: path that the weights start from, or None.
      training: dict of peak_rate, num_steps and num_warmup_steps, or None.
      prediction: dict of cells, size, trim_padding and static_shapes (see `SpanModel.best_positions`), or None.
      use_tpu: whether the model runs on a TPU.
      seed: of the dropout.
      training_hooks: `SessionRunHook`s of a training besides its progress.
    """

    def model_fn(features, labels, mode, params):
        del labels
        is_training = mode == tf.estimator.ModeKeys.TRAIN
        dropout = modeling.no_dropout
        if is_training:
            step = tf.train.get_or_create_global_step()
            dropout = modeling.Dropout(
                seed, step_of_core(step, features["input_ids"]) if use_tpu else step
            )
        fast = {}
        if on_cpu(use_tpu):
            cpu_ops.keep_freed_memory()
            if not is_training:
                fast = cpu_ops.make_forms()
        bert = modeling.Bert(config, dropout, one_hot_embeddings=use_tpu, **fast)
        model = span_model.SpanModel(bert, dataset.masks_span)
        scaffold_fn = _restore_from(init_checkpoint, use_tpu) if init_checkpoint else None
        if not is_training:
            return TPUEstimatorSpec(
                mode,
                predictions=model.best_positions(features, **prediction),
                scaffold_fn=scaffold_fn,
            )
        loss = model.training_loss(features)
        train_op, rate = optimization.training_op(loss, use_tpu=use_tpu, **training)
        host_call = _tpu_summaries(params["output_dir"], learning_rate=rate) if use_tpu else None
        if not use_tpu:
            tf.summary.scalar("learning_rate", rate)
        return TPUEstimatorSpec(
            mode,
            loss=loss,
            train_op=train_op,
            scaffold_fn=scaffold_fn,
            host_call=host_call,
            training_hooks=[TrainingProgress(training["num_steps"])] + list(training_hooks),
        )

    return model_fn


class Device(
    collections.namedtuple(
        "Device",
        [
            "use_tpu",
            "tpu_name",
            "tpu_zone",
            "gcp_project",
            "master",
            "num_tpu_cores",
            "iterations_per_loop",
        ],
    )
):
    """Where the model runs: a TPU with its address, or the GPU or CPU of this machine."""

    __slots__ = ()

    def resolver(self):
        """Returns the cluster resolver of the Cloud TPU, or None."""
        if self.use_tpu and self.tpu_name:
            return TPUClusterResolver(self.tpu_name, zone=self.tpu_zone, project=self.gcp_project)
        return None


def make_estimator(
    model_fn, device, output_dir, train_batch_size, predict_batch_size, save_checkpoints_steps, seed
):
    """Returns the TPUEstimator of the reader.

    Args:
      model_fn: what `make_model_fn` returned.
      device: `Device`.
      output_dir: folder of the checkpoints.
      train_batch_size, predict_batch_size: windows in a batch, over all cores of a TPU together.
      save_checkpoints_steps: steps between checkpoints.
      seed: of the weights that no checkpoint gives.
    """
    per_host = InputPipelineConfig.PER_HOST_V2
    run_config = RunConfig(
        cluster=device.resolver(),
        master=device.master,
        model_dir=output_dir,
        tf_random_seed=seed,
        save_checkpoints_steps=save_checkpoints_steps,
        save_summary_steps=STEPS_BETWEEN_SUMMARIES,
        log_step_count_steps=None,
        session_config=tensorflow_versions.session_config(device.use_tpu),
        tpu_config=TPUConfig(
            iterations_per_loop=device.iterations_per_loop,
            num_shards=device.num_tpu_cores,
            per_host_input_for_training=per_host,
        ),
    )
    return TPUEstimator(
        model_fn,
        use_tpu=device.use_tpu,
        config=run_config,
        params={"output_dir": output_dir},
        train_batch_size=train_batch_size,
        predict_batch_size=predict_batch_size,
        eval_on_tpu=False,
    )
