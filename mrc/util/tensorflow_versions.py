# SPDX-License-Identifier: Apache-2.0
"""Everything that differs between TensorFlow 1.13 to 1.15 and 2.x up to 2.15, side by side.

Import this module before building a graph: in TensorFlow 2 it restores the behaviour of version 1.
"""

import contextlib
import os

import tensorflow.compat.v1 as tf
from tensorflow.core.protobuf import rewriter_config_pb2
from tensorflow.python.util import deprecation

VERSION = tuple(int(part) for part in tf.__version__.split(".")[:2])
IS_TF2 = VERSION >= (2, 0)

# An estimator traces each function once, and XLA compiles it once per shape. Compiling at the first
# call rather than the second keeps the last bits of a result independent of the order of windows.
# The variable is read when the process opens its first session.
os.environ["TF_XLA_FLAGS"] = " ".join([os.environ.get("TF_XLA_FLAGS", ""), "--tf_xla_enable_lazy_compilation=false"])


@contextlib.contextmanager
def _without_warnings():
    """Hides TensorFlow's warnings in the block, such as those about names without a replacement."""
    verbosity = tf.logging.get_verbosity()
    tf.logging.set_verbosity(tf.logging.ERROR)
    try:
        yield
    finally:
        tf.logging.set_verbosity(verbosity)


if IS_TF2:
    import tensorflow.compat.v2 as tf2
    from tensorflow.python.util import _pywrap_util_port

    if VERSION < (2, 13):  # its tf.function knows no _noinline
        from tensorflow.python.eager.polymorphic_function import quarantine as eager_function

    # From where they are defined: on first access to tf.estimator.tpu, TensorFlow walks the whole
    # stack for a deprecation warning, which takes a third of a second.
    from tensorflow_estimator.python.estimator.tpu import tpu_config, tpu_estimator

    with _without_warnings():
        tf.disable_v2_behavior()
        CrossShardOptimizer = tf.tpu.CrossShardOptimizer
        TPUClusterResolver = tf2.distribute.cluster_resolver.TPUClusterResolver
else:
    from tensorflow.contrib import summary as tf_summary
    from tensorflow.contrib import tpu as tpu_config
    from tensorflow.contrib import tpu as tpu_estimator
    from tensorflow.contrib.cluster_resolver import TPUClusterResolver  # noqa: F401
    from tensorflow.contrib.tpu import CrossShardOptimizer  # noqa: F401
    from tensorflow.python.eager import function as eager_function
    from tensorflow.python.framework import function as framework_function

with _without_warnings():
    InputPipelineConfig = tpu_config.InputPipelineConfig
    RunConfig, TPUConfig = tpu_config.RunConfig, tpu_config.TPUConfig
    TPUEstimator, TPUEstimatorSpec = tpu_estimator.TPUEstimator, tpu_estimator.TPUEstimatorSpec


# Keeps a function from being inlined where it is called; TensorFlow 1.13 has no such attribute.
_NOT_INLINED = {} if VERSION < (1, 14) else {"_noinline": True}


def write_scalars(folder, step, scalars):
    """Returns the ops that write scalars to TensorBoard's files, for use within a host call.

    Args:
      folder: of the files.
      step: scalar tensor, the global step.
      scalars: {name: scalar tensor}.
    """
    if IS_TF2:
        with tf2.summary.create_file_writer(folder).as_default(), tf2.summary.record_if(True):
            for name, value in scalars.items():
                tf2.summary.scalar(name, value, step=step)
            return tf.summary.all_v2_summary_ops()
    with tf_summary.create_file_writer(folder).as_default(), tf_summary.always_record_summaries():
        for name, value in scalars.items():
            tf_summary.scalar(name, value, step=step)
        return tf_summary.all_summary_ops()


def graph_function(body, tensors):
    """Returns a graph function of `body`, which maps tensors to a list of tensors.

    Args:
      body: the Python function.
      tensors: tensors with the shapes and types of the arguments.
    """
    signature = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in tensors]
    if VERSION >= (2, 13):
        return tf2.function(body, input_signature=signature, autograph=False, experimental_attributes=_NOT_INLINED)
    return eager_function.defun_with_attributes(body, signature, attributes=_NOT_INLINED, autograph=False)


def xla_function(body, tensors):
    """Returns `body`, which maps tensors to one tensor, compiled by XLA.

    Args:
      body: the Python function.
      tensors: tensors with the shapes and types of the arguments.
    """

    def with_shapes(*arguments):
        for argument, tensor in zip(arguments, tensors):
            argument.set_shape(tensor.shape)
        return body(*arguments)

    if IS_TF2:
        return tf2.function(with_shapes, autograph=False, jit_compile=True)
    return framework_function.Defun(*[tensor.dtype for tensor in tensors], noinline=True, compiled=True)(with_shapes)


def session_config(use_tpu=False, rewrites_graph=True):
    """Returns the configuration of a session that calls the results of `graph_function`.

    Args:
      use_tpu: whether the session runs on a TPU.
      rewrites_graph: whether TensorFlow 2 simplifies the graph before the first step.
    """
    config = tf.ConfigProto(allow_soft_placement=True, isolate_session_state=use_tpu)
    if not use_tpu:
        # Functions are called hundreds of times; specialized, they would be compiled as often.
        config.graph_options.rewrite_options.function_optimization = rewriter_config_pb2.RewriterConfig.OFF
    if IS_TF2 and not rewrites_graph:
        config.graph_options.rewrite_options.disable_meta_optimizer = True
    return config


def without_autotuning(dataset):
    """Returns the `tf.data.Dataset` with autotuning off; it has nothing to tune.

    In TensorFlow 2, closing a session blocks until the autotuning thread wakes up, at intervals
    that double up to one minute.
    """
    if not IS_TF2:
        return dataset
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def uses_onednn():
    """Whether TensorFlow computes with oneDNN, which has operations of its own."""
    return IS_TF2 and _pywrap_util_port.IsMklEnabled()


def silence_deprecation_warnings():
    """Turns off warnings of deprecated symbols, most of which concern TensorFlow's own code."""
    deprecation._PRINT_DEPRECATION_WARNINGS = False
