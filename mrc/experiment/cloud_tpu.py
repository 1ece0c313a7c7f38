# SPDX-License-Identifier: Apache-2.0
"""Checks that a TPU exists and is ready before any other work, because waiting for it costs money.

TensorFlow's own resolver queries the Cloud TPU API again later, but reports every failure as a
traceback, and retries for an hour to reach a missing worker.
"""

import contextlib
import json
import os
import socket
import urllib.request

import googleapiclient.errors
import httplib2
import oauth2client.client
import tensorflow.compat.v1 as tf
from googleapiclient import discovery

from mrc.util.errors import InputError, first_line, warn
from mrc.util.tensorflow_versions import IS_TF2

ADDRESS = "grpc://"
LOCAL = "local"  # --tpu_name of the TPU that a TPU VM is attached to
DISCOVERY_VARIABLE = "TPU_API_DISCOVERY_URL"  # TensorFlow's resolver reads it too
_CORES_OF_A_HOST = 8  # TPUEstimator predicts on one host only
_METADATA = "http://%s/computeMetadata/v1/"
_METADATA_VARIABLE = "GCE_METADATA_ROOT"  # oauth2client reads it too
_METADATA_SERVER = "metadata.google.internal"
_SECONDS = 10  # timeout of a request


def check_flags(options):
    """Checks the TPU flags against each other and against the limits of a TPU."""
    if not options.use_tpu:
        _warn_of_unused_flags(options)
        return
    name, cores = options.tpu_name, options.num_tpu_cores
    if not (name or options.master):
        raise InputError("--use_tpu needs --tpu_name or --master; pass the name or the grpc:// address of the TPU")
    if name and options.master:
        raise InputError(f"--tpu_name={name} and --master={options.master} both name the TPU; pass one of them")
    if options.trim_padding:
        raise InputError("--trim_padding makes batches of different lengths, which a TPU cannot run; remove it or --use_tpu")
    if options.micro_batch_size:
        raise InputError(
            f"--micro_batch_size={options.micro_batch_size} is for a GPU or a CPU: with --use_tpu, "
            "remove it; a TPU splits a batch over its cores"
        )
    predicts = options.do_predict or options.do_attention
    if predicts and cores > _CORES_OF_A_HOST:
        raise InputError(
            f"--num_tpu_cores={cores}: prediction runs on a TPU with a single host, with at most "
            f"{_CORES_OF_A_HOST} cores; train there, and decode on a v2-8 or v3-8"
        )
    for flag in ("output_dir", "init_checkpoint"):
        path = getattr(options, flag)
        if path and not path.startswith("gs://") and name != LOCAL:
            raise InputError(
                f"a remote TPU reads and writes gs:// paths only, and --{flag}={path} is local; "
                "copy it to a bucket, or run on a TPU VM with --tpu_name=local"
            )
    used = ["train_batch_size"] * bool(options.do_train) + ["predict_batch_size"] * bool(predicts)
    for flag in used:
        size = getattr(options, flag)
        if size % cores:
            raise InputError(
                f"--{flag}={size} is not a multiple of the {cores} TPU cores (--num_tpu_cores); "
                f"use one such as {cores * (size // cores + 1)}"
            )


def _warn_of_unused_flags(options):
    effects = {"tpu_name": "it is not used", "master": "the model runs there, but not as on a TPU"}
    for name, effect in effects.items():
        if getattr(options, name):
            warn(f"--{name}={getattr(options, name)} without --use_tpu: {effect}; add --use_tpu to run on a TPU")


def _metadata(path, flag):
    """Returns the default of `flag`: the value at `path` on Google Cloud's metadata server."""
    url = _METADATA % os.environ.get(_METADATA_VARIABLE, _METADATA_SERVER) + path
    request = urllib.request.Request(url, headers={"Metadata-Flavor": "Google"})
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            return answer.read().decode("utf-8").split("/")[-1]
    except OSError:
        raise InputError(f"--{flag} is needed to find the TPU: its default is only known on a Google Cloud machine")


def _credentials():
    try:
        return oauth2client.client.GoogleCredentials.get_application_default()
    except (oauth2client.client.Error, OSError, httplib2.HttpLib2Error) as error:
        raise InputError(
            f"there are no Google Cloud credentials to find the TPU with ({first_line(error).split('.')[0]}); run "
            "`gcloud auth application-default login`, or pass the TPU's address: --tpu_name=grpc://address:8470"
        )


def _reason(error):
    """Returns the reason in a `googleapiclient.errors.HttpError`."""
    try:
        return json.loads(error.content.decode("utf-8"))["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return error.resp.reason


@contextlib.contextmanager
def _explain_api_errors(name, zone, project):
    """Reports errors of the Cloud TPU API."""
    no_such_tpu = InputError(
        f'there is no TPU "{name}" in zone {zone} of project {project}; check --tpu_name, '
        f"--tpu_zone and --gcp_project against `gcloud compute tpus list --zone={zone}`"
    )
    try:
        yield
    except googleapiclient.errors.HttpError as error:
        if error.resp.status == 404:
            raise no_such_tpu
        if error.resp.status in (401, 403):
            raise InputError(
                f'the current Google Cloud credentials have no access to the TPU "{name}" in '
                f"project {project} ({error.resp.status}: {_reason(error)}); log in with an "
                "account that has, or check --gcp_project"
            )
        raise InputError(
            f"the Cloud TPU API fails ({error.resp.status}: {_reason(error)}); try again later, or "
            "pass the TPU's address: --tpu_name=grpc://address:8470"
        )
    except TypeError:  # the client rejects the name without a request
        raise no_such_tpu
    except oauth2client.client.Error as error:
        raise InputError(
            f"the Google Cloud credentials are refused ({first_line(error)}); run `gcloud auth application-default login`"
        )
    except (OSError, httplib2.HttpLib2Error, googleapiclient.errors.Error) as error:
        raise InputError(
            f"the Cloud TPU API cannot be reached ({first_line(error)}); check this machine's "
            "network, or pass the TPU's address: --tpu_name=grpc://address:8470"
        )


def _node(name, zone, project):
    """Returns the Cloud TPU API's description of a TPU, a dict."""
    credentials = _credentials()
    url = os.environ.get(DISCOVERY_VARIABLE)
    chosen = {"discoveryServiceUrl": url} if url else {}
    with _explain_api_errors(name, zone, project):
        service = discovery.build("tpu", "v1", credentials=credentials, cache_discovery=False, **chosen)
        path = f"projects/{project}/locations/{zone}/nodes/{name}"
        return service.projects().locations().nodes().get(name=path).execute()


def _minor(version):
    """Returns the version that client and worker must share: "1.15.3" -> "1.15"."""
    return ".".join(version.split(".")[:2])


def _check_node(node, name, zone):
    state, version = node.get("state", "READY"), node.get("tensorflowVersion", tf.__version__)
    if state != "READY":
        raise InputError(
            f'the TPU "{name}" is {state}, not READY; wait until `gcloud compute tpus list '
            f"--zone={zone}` shows it READY, or start or create it again"
        )
    if _minor(version) != _minor(tf.__version__):
        raise InputError(
            f'the TPU "{name}" runs TensorFlow {version} and this machine {tf.__version__}; create '
            f"a TPU with --version={_minor(tf.__version__)}"
        )


def _check_answers(address):
    """Checks that a server listens at "host:port"."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f'"{address}" is not the address of a TPU; pass host and port, as in ' "grpc://10.240.1.2:8470")
    try:
        socket.create_connection((host, int(port)), _SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"the TPU worker at {address} does not answer ({first_line(error)}); check that the "
            "TPU is running and that this machine can reach its network"
        )


def check(tpu_name, tpu_zone, gcp_project, master):
    """Checks that the TPU of these flags exists, is ready, matches TensorFlow and answers.

    Args:
      tpu_name: name of a Cloud TPU, its address (grpc://host:port), or `LOCAL`; None with `master`.
      tpu_zone, gcp_project: of the named TPU; those of this machine if None.
      master: TensorFlow master, used without `tpu_name`.

    Raises:
      InputError: a check failed.
    """
    name_or_master = tpu_name or master
    if tpu_name == LOCAL:
        if not IS_TF2:
            raise InputError(
                f"--tpu_name=local is the TPU of a TPU VM, which needs TensorFlow 2, but this is {tf.__version__}; "
                "install 2.15.1 with `TF_VERSION=2.15.1 . scripts/setup_environment.sh requirements.txt`"
            )
        return
    if name_or_master.startswith(ADDRESS):
        addresses = name_or_master[len(ADDRESS) :].split(",")
    elif tpu_name:
        project = gcp_project or _metadata("project/project-id", "gcp_project")
        zone = tpu_zone or _metadata("instance/zone", "tpu_zone")
        node = _node(tpu_name, zone, project)
        _check_node(node, tpu_name, zone)
        addresses = ["{ipAddress}:{port}".format(**endpoint) for endpoint in node.get("networkEndpoints") or [node]]
    else:
        addresses = []  # only TensorFlow can resolve this master
    for address in addresses:
        _check_answers(address)


@contextlib.contextmanager
def explain_tpu_errors():
    """Reports a machine without a TPU, a wrong number of cores and a lost connection."""
    try:
        yield
    except RuntimeError as error:
        if "Cannot find any TPU cores" not in str(error):
            raise
        raise InputError("the machine that --tpu_name or --master names has no TPU; check its address")
    except ValueError as error:  # from TPUEstimator, once connected to the TPU
        if "num_shards is not set correctly" not in str(error):
            raise
        raise InputError(f"--num_tpu_cores differs from that of the TPU ({first_line(error)}); pass that number")
    except (tf.errors.UnavailableError, tf.errors.DeadlineExceededError) as error:
        raise InputError(f"the TPU worker stopped answering ({first_line(error)}); rerun the same command to resume")
