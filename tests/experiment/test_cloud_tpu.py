# SPDX-License-Identifier: Apache-2.0
"""Tests of how the TPU flags become the address that the estimator connects to."""

import os
import subprocess
import sys
import types
import urllib.request

import cloud_api
import googleapiclient.errors
import oauth2client.client
import pytest
import tensorflow.compat.v1 as tf
import tiny

from mrc import datasets
from mrc.experiment import cloud_tpu
from mrc.experiment import run as experiment
from mrc.model import estimator
from mrc.util.errors import InputError
from mrc.util.tensorflow_versions import IS_TF2

NODE = "projects/my-project/locations/my-zone/nodes/my-tpu"
FLAGS = dict(tpu_name="my-tpu", tpu_zone="my-zone", gcp_project="my-project")
ON_GS = dict(
    bert_config_file="gs://b/c.json",
    vocab_file="gs://b/v.txt",
    init_checkpoint="gs://b/bert_model.ckpt",
    output_dir="gs://b/o",
    predict_file="gs://b/dev.json",
    do_predict=True,
    use_tpu=True,
)
VERSION = tf.__version__


@pytest.fixture
def api(monkeypatch):
    """The `CloudApi` and valid credentials for it."""
    with cloud_api.CloudApi().serving() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        credentials = oauth2client.client.AccessTokenCredentials(cloud_api.TOKEN, "tests")
        monkeypatch.setattr(oauth2client.client.GoogleCredentials, "get_application_default", lambda: credentials)
        yield server


@pytest.fixture
def port():
    with cloud_api.listening() as number:
        yield number


def device(**changes):
    flags = dict(
        use_tpu=True, tpu_name=None, tpu_zone=None, gcp_project=None, master=None, num_tpu_cores=8, iterations_per_loop=10
    )
    return estimator.TpuOptions(**dict(flags, **changes))


def make_estimator(where, output_dir):
    schedule = estimator.Schedule(peak_rate=0.1, num_steps=4, num_warmup_steps=1)
    model_fn = estimator.training_model_fn(tiny.config(), datasets.SQUAD, schedule, use_tpu=True)
    options = types.SimpleNamespace(
        **tiny.flag_values(output_dir=str(output_dir), train_batch_size=8, save_checkpoints_steps=10)
    )
    return estimator.make_estimator(model_fn, where, options)


def check(**changes):
    flags = dict(FLAGS, master=None)
    cloud_tpu.check(**dict(flags, **changes))


def test_a_ready_tpu_is_looked_up_where_the_flags_say(api, port):
    api.nodes[NODE] = cloud_api.node(port, VERSION)
    check()
    assert api.requested == [NODE]


def test_project_and_zone_default_to_this_machine(api, port):
    api.nodes["projects/machines-project/locations/machines-zone/nodes/my-tpu"] = cloud_api.node(port, VERSION)
    check(tpu_zone=None, gcp_project=None)
    assert api.requested == list(api.nodes)


@pytest.mark.parametrize("other", [{"tpu_zone": "other-zone"}, {"gcp_project": "other-project"}, {"tpu_name": "other-tpu"}])
def test_the_estimator_connects_to_the_master_that_the_api_names(api, port, tmp_path, other):
    api.nodes[NODE] = cloud_api.node(port, VERSION)
    config = make_estimator(device(**FLAGS), tmp_path).config
    assert config.master == "grpc://127.0.0.1:%d" % port
    assert set(api.requested) == {NODE}
    assert config.session_config.cluster_def.job[0].tasks[0] == "127.0.0.1:%d" % port
    # The exception depends on the version of TensorFlow.
    with pytest.raises((ValueError, TypeError, googleapiclient.errors.HttpError)):
        device(**dict(FLAGS, **other)).resolver().master()


def test_a_local_tpu_needs_tensorflow_2(api):
    if IS_TF2:
        check(tpu_name="local")
        cloud_tpu.check_flags(
            types.SimpleNamespace(
                **tiny.flag_values(use_tpu=True, tpu_name="local", output_dir="here", init_checkpoint="there.ckpt")
            )
        )
    else:
        assert_refused(
            f"--tpu_name=local is the TPU of a TPU VM, which needs TensorFlow 2, but this is {VERSION}", tpu_name="local"
        )
    assert api.requested == []


@pytest.mark.parametrize("flag", ["tpu_name", "master"])
def test_an_address_needs_no_api(api, port, tmp_path, flag):
    address = {flag: "grpc://127.0.0.1:%d" % port}
    check(**dict({"tpu_name": None, "tpu_zone": None, "gcp_project": None}, **address))
    assert make_estimator(device(**address), tmp_path).config.master == address[flag]
    assert api.requested == []


def test_the_session_reaches_that_machine(api, tmp_path):
    """The worker is a TensorFlow server without a TPU, and the missing TPU is reported."""
    port = cloud_api.free_port()
    server = tf.train.Server({"tpu_worker": ["127.0.0.1:%d" % port]}, job_name="tpu_worker", task_index=0)
    api.nodes[NODE] = cloud_api.node(port, VERSION)
    assert server.target.endswith(":%d" % port)
    reader = make_estimator(device(**FLAGS), tmp_path)
    with pytest.raises(InputError) as raised, cloud_tpu.explain_tpu_errors():
        reader.train(lambda params: None, max_steps=4)
    assert str(raised.value) == "the machine that --tpu_name or --master names has no TPU; check its address"


def test_another_number_of_cores_is_reported():
    with pytest.raises(InputError) as raised, cloud_tpu.explain_tpu_errors():
        raise ValueError("TPUConfig.num_shards is not set correctly. num_replicas should be (32), got (8).")
    assert str(raised.value) == (
        "--num_tpu_cores differs from that of the TPU (TPUConfig.num_shards is not set correctly. "
        "num_replicas should be (32), got (8)); pass that number"
    )
    with pytest.raises(ValueError, match="something else"), cloud_tpu.explain_tpu_errors():
        raise ValueError("something else")


def assert_refused(wanted, **changes):
    with pytest.raises(InputError) as raised:
        check(**changes)
    message = str(raised.value)
    assert wanted in message and "\n" not in message
    return message


@pytest.mark.parametrize(
    "status, wanted",
    [
        (
            404,
            'there is no TPU "my-tpu" in zone my-zone of project my-project; check --tpu_name, '
            "--tpu_zone and --gcp_project",
        ),
        (
            403,
            'have no access to the TPU "my-tpu" in project my-project (403: refused with 403); log '
            "in with an account that has",
        ),
        (500, "the Cloud TPU API fails (500: refused with 500); try again later, or pass the TPU's address"),
    ],
)
def test_api_errors_are_reported(api, status, wanted):
    api.nodes[NODE] = status
    assert_refused(wanted)


def test_an_invalid_name_is_reported(api):
    assert assert_refused('there is no TPU "a/b" in zone my-zone', tpu_name="a/b") and api.requested == []


@pytest.mark.parametrize("state", ["CREATING", "STOPPED", "PREEMPTED"])
def test_a_tpu_that_is_not_ready_is_reported(api, port, state):
    api.nodes[NODE] = cloud_api.node(port, VERSION, state)
    assert_refused(f'the TPU "my-tpu" is {state}, not READY; wait until `gcloud compute tpus list ' "--zone=my-zone`")


@pytest.mark.parametrize(
    "version, fits",
    [(VERSION, True), (VERSION.rpartition(".")[0], True), ("2.3", False), ("1.1", False), ("nightly", False)],
)
def test_another_runtime_version_is_reported(api, port, version, fits):
    api.nodes[NODE] = cloud_api.node(port, version)
    if fits:
        check()
    else:
        assert_refused(
            f'the TPU "my-tpu" runs TensorFlow {version} and this machine {VERSION}; create a TPU '
            f"with --version={VERSION.rpartition('.')[0]}"
        )


def test_missing_and_refused_credentials_are_reported(api, monkeypatch):
    def missing():
        raise oauth2client.client.ApplicationDefaultCredentialsError("They are not available. More text")

    monkeypatch.setattr(oauth2client.client.GoogleCredentials, "get_application_default", missing)
    assert_refused(
        "there are no Google Cloud credentials to find the TPU with (They are not available); run "
        "`gcloud auth application-default login`"
    )
    refused = oauth2client.client.AccessTokenCredentials("expired", "tests")
    monkeypatch.setattr(oauth2client.client.GoogleCredentials, "get_application_default", lambda: refused)
    assert_refused("the Google Cloud credentials are refused (")


def test_an_unreachable_api_is_reported(api, monkeypatch):
    monkeypatch.setenv("TPU_API_DISCOVERY_URL", "http://127.0.0.1:%d/" % cloud_api.free_port())
    assert_refused("the Cloud TPU API cannot be reached ([Errno 111] Connection refused); check this machine's network")


@pytest.mark.parametrize("flag, given", [("tpu_zone", {"tpu_zone": None}), ("gcp_project", {"gcp_project": None})])
def test_outside_of_google_cloud_project_and_zone_are_needed(api, monkeypatch, flag, given):
    def nowhere(*_, **__):
        raise urllib.request.URLError("unknown host")

    monkeypatch.setattr(urllib.request, "urlopen", nowhere)
    assert_refused(f"--{flag} is needed to find the TPU", **given)


@pytest.mark.parametrize("by", ["name", "tpu_name", "master"])
def test_a_worker_that_does_not_answer_is_reported(api, by):
    port = cloud_api.free_port()
    api.nodes[NODE] = cloud_api.node(port, VERSION)
    changes = {} if by == "name" else dict({"tpu_name": None}, **{by: "grpc://127.0.0.1:%d" % port})
    assert_refused(
        "the TPU worker at 127.0.0.1:%d does not answer ([Errno 111] Connection refused); check "
        "that the TPU is running" % port,
        **changes,
    )


@pytest.mark.parametrize("address", ["grpc://10.0.0.1", "grpc://:8470", "grpc://10.0.0.1:here"])
def test_invalid_addresses_are_reported(address):
    assert_refused(
        '"{}" is not the address of a TPU; pass host and port'.format(address[len("grpc://") :]), tpu_name=address
    )


def test_a_run_looks_for_the_tpu_before_it_touches_the_bucket(api, monkeypatch, capsys):
    touched = []
    monkeypatch.setattr(tf.gfile, "Exists", lambda path: touched.append(path))
    with pytest.raises(SystemExit) as end:
        experiment.run(datasets.SQUAD, tiny.flag_values(**dict(ON_GS, **FLAGS)))
    assert end.value.code == 2 and touched == []
    assert 'error: there is no TPU "my-tpu" in zone my-zone of project my-project' in capsys.readouterr().err


@pytest.fixture
def google_cloud(monkeypatch):
    """The `CloudApi` and metadata server, without other credentials."""
    with cloud_api.CloudApi().serving() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
        yield server


@pytest.mark.parametrize("script", ["run_squad.py", "run_cmrc2018.py"])
def test_scripts_report_another_runtime_version(google_cloud, script):
    google_cloud.nodes[NODE] = cloud_api.node(1, "2.3")
    code, _, stderr = tiny.run_in_new_process(script, **dict(ON_GS, do_lower_case=True, **FLAGS))
    lines = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert code == 2 and google_cloud.requested == [NODE] and "Traceback" not in stderr
    assert lines == [
        'error: the TPU "my-tpu" runs TensorFlow 2.3 and this machine {}; create a TPU with ' "--version={}".format(
            VERSION, VERSION.rpartition(".")[0]
        )
    ]


COMMON = {
    "use_tpu": "True",
    "tpu_name": "t",
    "tpu_zone": "z",
    "max_seq_length": "512",
    "doc_stride": "128",
    "predict_batch_size": "32",
}
TRAINING = {"do_train": "True", "do_predict": "True", "do_eval": "True", "train_batch_size": "64", "learning_rate": "3e-5"}
DECODING = {"do_predict": "True", "do_eval": "True", "mask_zone": "all,q2,q2p,p2q,p2", "mask_layer": "each"}
SQUAD = {"do_lower_case": "False", "predict_file": "gs://b/squad/dev-v1.1.json", "output_dir": "gs://b/squad_output"}
CMRC = {"do_lower_case": "True", "predict_file": "gs://b/cmrc2018/cmrc2018_dev.json", "output_dir": "gs://b/cmrc2018_output"}


@pytest.mark.parametrize(
    "script, model, flags",
    [
        (
            "train_squad.sh",
            "cased_L-12_H-768_A-12",
            dict(TRAINING, train_file="gs://b/squad/train-v1.1.json", num_train_epochs="3.0", **SQUAD),
        ),
        ("decode_squad.sh", "cased_L-12_H-768_A-12", dict(DECODING, **SQUAD)),
        (
            "train_cmrc2018.sh",
            "chinese_L-12_H-768_A-12",
            dict(TRAINING, train_file="gs://b/cmrc2018/cmrc2018_train.json", num_train_epochs="2.0", **CMRC),
        ),
        ("decode_cmrc2018.sh", "chinese_L-12_H-768_A-12", dict(DECODING, **CMRC)),
    ],
)
def test_protocol_scripts_look_up_the_tpu_and_connect(google_cloud, script, model, flags):
    port, node = cloud_api.free_port(), "projects/machines-project/locations/z/nodes/t"
    google_cloud.nodes[node] = cloud_api.node(port, VERSION)
    environment = dict(
        os.environ, TPU_NAME="t", TPU_ZONE="z", GS_BUCKET="gs://b", PYTHON=sys.executable, CUDA_VISIBLE_DEVICES=""
    )
    done = subprocess.run(["bash", os.path.join(tiny.ROOT, script)], capture_output=True, env=environment)
    command = done.stdout.decode("utf-8").splitlines()[0].replace("\\", "").split()
    given = dict(word[len("--") :].split("=", 1) for word in command[3:])
    beside = {"vocab_file": "vocab.txt", "bert_config_file": "bert_config.json", "init_checkpoint": "bert_model.ckpt"}
    assert given == dict(COMMON, **dict(flags, **{flag: f"gs://b/{model}/{name}" for flag, name in beside.items()}))
    errors = [line for line in done.stderr.decode("utf-8").splitlines() if line.startswith("error: ")]
    assert done.returncode == 2 and google_cloud.requested == [node]
    assert len(errors) == 1 and errors[0].startswith("error: the TPU worker at 127.0.0.1:%d does not answer" % port)
