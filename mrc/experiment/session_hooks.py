# SPDX-License-Identifier: Apache-2.0
"""Session hooks: checks of inputs and of NaN, progress, and stopping on a signal."""

from typing import Callable

import numpy as np
import tensorflow.compat.v1 as tf

from mrc.experiment import explain
from mrc.util import progress
from mrc.util.signals import SignalHandler


class RestoredWeightsHook(tf.train.SessionRunHook):
    """Calls `check` once, after the session has restored the weights and before the first step."""

    def __init__(self, check: Callable[[], None]):
        self._checks = [check]

    def after_create_session(self, session, coord):
        del session, coord
        while self._checks:
            self._checks.pop()()


class LossHook(tf.train.SessionRunHook):
    """Fetches the loss of each training step, which `after_run` receives in the results."""

    def begin(self):
        self._loss = tf.get_collection(tf.GraphKeys.LOSSES)[-1]

    def before_run(self, run_context):
        return tf.train.SessionRunArgs(self._loss)


class ProgressHook(LossHook):
    """Shows steps, loss, speed and time left.

    Args:
      num_steps: steps of the whole training.
    """

    def __init__(self, num_steps: int):
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


class StopOnSignalHook(tf.train.SessionRunHook):
    """Requests a stop after the step in which a signal arrived; a checkpoint is then written."""

    def __init__(self, handler: SignalHandler):
        self._handler = handler

    def before_run(self, run_context):
        self._handler.reinstall()  # TPUEstimator restores Python's own handler before each step

    def after_run(self, run_context, run_values):
        if self._handler.received is not None:
            run_context.request_stop()


class NanLossHook(LossHook):
    """Stops the training at the first step whose loss is NaN or infinite.

    Args:
      folder: folder of the checkpoints.
    """

    def __init__(self, folder: str):
        self._folder = folder

    def after_run(self, run_context, run_values):
        if not np.isfinite(run_values.results):
            step = run_context.session.run(tf.train.get_global_step())
            raise explain.diverged(f"at step {step}, whose loss is {run_values.results}", self._folder)


class UnchangedInputsListener(tf.train.CheckpointSaverListener):
    """Allows a checkpoint only if the inputs of the training are still what it recorded.

    TensorFlow writes the first checkpoint as soon as the initial weights are restored.

    Args:
      check_model: called once, before the first checkpoint.
      check_records: called before each checkpoint.
    """

    def __init__(self, check_model: Callable[[], None], check_records: Callable[[], None]):
        self._checks, self._check_records = [check_model], check_records

    def before_save(self, session, global_step_value):
        del session, global_step_value
        while self._checks:
            self._checks.pop()()
        self._check_records()


class FiniteWeightsListener(tf.train.CheckpointSaverListener):
    """Allows a checkpoint only if its folder still exists and all weights are finite.

    The loss of a step is that of the weights before it, so `NanLossHook` alone is a step late.

    Args:
      folder: folder of the checkpoints.
    """

    def __init__(self, folder: str):
        self._folder = folder

    def begin(self):
        self._finite = tf.reduce_all([tf.reduce_all(tf.is_finite(weights)) for weights in tf.trainable_variables()])

    def before_save(self, session, global_step_value):
        explain.check_training_folder(self._folder)
        if not session.run(self._finite):
            raise explain.diverged(f"at step {global_step_value}, which left NaN or infinite weights", self._folder)
