# SPDX-License-Identifier: Apache-2.0
"""Tests scripts/grid.slurm on a Slurm of one node, which the test starts in a folder of its own."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time

import cloud_api
import pytest
import tiny

from mrc import datasets
from mrc.experiment import run as experiment

SECONDS_TO_START, SECONDS_TO_RUN = 20, 180
CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
"""


def output(environment, *command):
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/")
    return done.stdout.decode("utf-8", "replace").strip()


def comes_true(condition, seconds):
    """Whether `condition()` is true within `seconds`."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.2)
    return condition()


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The environment of commands of a running Slurm."""
    lacking = [name for name in ("slurmctld", "slurmd", "sbatch") if not shutil.which(name)]
    if lacking:
        pytest.skip(f"there is no {lacking[0]} (Debian's slurm-wlm)")
    folder, host = tmp_path_factory.mktemp("slurm"), socket.gethostname().split(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    ports = [cloud_api.free_port() for _ in range(2)]
    text = CONFIG.format(host=host, ports=ports, user=getpass.getuser(), folder=folder)
    (folder / "slurm.conf").write_text(text)
    environment = dict(os.environ, SLURM_CONF=str(folder / "slurm.conf"))
    with contextlib.ExitStack() as stack:
        for command in (["slurmctld", "-D"], ["slurmd", "-D", "-N", host]):
            log = stack.enter_context(open(str(folder / command[0]), "wb"))
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        state = ("sinfo", "--noheader", "--format=%T")
        if not comes_true(lambda: output(environment, *state) == "idle", SECONDS_TO_START):
            logs = [(folder / name).read_text()[-300:] for name in ("slurmctld", "slurmd")]
            pytest.skip(f"Slurm does not start here: {logs}")
        yield environment


def test_an_array_job_ends_with_the_tables(paths, tmp_path, slurm):
    for name in ("scripts", "run_squad.py"):
        os.symlink(os.path.join(tiny.ROOT, name), str(tmp_path / name))
    flags = tiny.model_flags(paths, do_predict=True, do_eval=True, mask_zone="q2,p2", predict_file=paths["squad"])
    one, many = str(tmp_path / "one"), str(tmp_path / "many")
    words = [f"--{name}={value}" for name, value in dict(flags, output_dir=many).items()]
    subprocess.run(
        ["sbatch", "--array=0-1", "scripts/grid.slurm", "run_squad.py"] + words,
        cwd=str(tmp_path),
        env=dict(slurm, PYTHON=sys.executable, CUDA_VISIBLE_DEVICES=""),
        check=True,
    )
    experiment.run(datasets.SQUAD, tiny.flag_values(output_dir=one, **flags))
    assert comes_true(lambda: output(slurm, "squeue", "--noheader") == "", SECONDS_TO_RUN)
    logs = [path.read_text() for path in sorted(tmp_path.glob("slurm-*.out"))]
    assert len(logs) == 3 and all(f"shard {number}/2 is done" in "".join(logs) for number in (1, 2))
    for name in ("results.csv", "effects.csv", "nbest_predictions_layer_q2.json"):
        with open(os.path.join(one, name), "rb") as ours, open(os.path.join(many, name), "rb") as theirs:
            assert ours.read() == theirs.read()
    assert len(tiny.read_json(many, "run.json")["runs"]) == 1
