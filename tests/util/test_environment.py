# SPDX-License-Identifier: Apache-2.0
"""Tests of `scripts/setup_environment.sh`, of check_environment.py and of the shell scripts."""

import os
import re
import resource
import shutil
import subprocess
import sys

import pytest
import tiny

from mrc.util import files

_TOOLS = ("bash", "cat", "cmp", "cp", "dirname", "grep", "ls", "mkdir", "rm", "sed", "uname")
_PYTHON = r"""#!/usr/bin/env bash
case "$1 $2" in
  "-m venv")
    for folder; do :; done
    mkdir -p "$folder/bin" && {copy} "$folder/bin/python"
    case "$*" in
      *--system-site-packages*)
        echo "include-system-site-packages = true" > "$folder/pyvenv.cfg" ;;
    esac
    echo "$*" >> {log} ;;
  "-m pip")
    {pip} || exit 1
    case "$3" in
      --version) ;;
      list) printf '%s\n' absl-py==0.9.0 numpy==1.17.4+nv protobuf==3.8.0 ;;
      install)
        echo "$*" >> {log}
        while [ $# -gt 0 ]; do
          if [ "$1" = --target ]; then
            {uv} || exit 1
            mkdir -p "$2/bin" && cp {log}.uv "$2/bin/uv"
          fi
          case "$1" in
            -r) grep -v '^#' "$2" >> {log} ;;
            -c) sed 's/^/constraint: /' "$2" >> {log} ;;
          esac
          shift
        done ;;
    esac ;;
  "-c "*) exec {real} -S -c "import sys
sys.version_info = {version} + (0,)
sys.modules.update({hidden})
sys.path.insert(0, '{site}')
$2" ;;
esac
"""


class Machine:
    """A folder of fake interpreters, the only entry of the PATH in `set_up`."""

    def __init__(self, folder):
        self.folder, self.bin, self.log = folder, folder / "bin", folder / "log"
        self.bin.mkdir()
        self.log.write_text("")
        for tool in _TOOLS:
            os.symlink(shutil.which(tool), str(self.bin / tool))
        project = folder / "project"
        project.mkdir()
        shutil.copy(os.path.join(tiny.ROOT, "requirements.txt"), str(project))
        shutil.copytree(os.path.join(tiny.ROOT, "requirements"), str(project / "requirements"))
        self.project = project

    def script(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    def python(self, name, version, venv=True, pip=True, tensorflow=None, uv=False, in_environment=None):
        """Writes an interpreter that reports `version`.

        Args:
            tensorflow: version of the TensorFlow it can import.
            uv: whether it can install uv.
            in_environment: interpreter of the environments it creates; default: its own copy.
        """
        path = self.bin / name
        site = self.folder / ("site-" + path.name)
        if tensorflow:
            (site / "tensorflow").mkdir(parents=True)
            (site / "tensorflow" / "__init__.py").write_text(f"print('a banner')\n__version__ = {tensorflow!r}\n")
        text = _PYTHON.replace("{hidden}", "{}" if venv else "{'ensurepip': None}")
        for word, value in dict(
            log=self.log,
            copy='cp "%s"' % (in_environment or "$0"),
            pip=str(pip).lower(),
            uv=str(uv).lower(),
            real=sys.executable,
            version=tuple(int(part) for part in version.split(".")),
            site=site,
        ).items():
            text = text.replace(f"{{{word}}}", str(value))
        return self.script(path, text)

    def uv(self, path, fetched):
        """Writes a uv that can download the interpreter `fetched`, or none."""
        return self.script(
            path,
            '#!/usr/bin/env bash\necho "uv $*" >> {}\ncase "$2" in install) {} ;; find) [ -e '
            "{}.fetched ] && echo {} ;; esac\n".format(
                self.log, f": > {self.log}.fetched" if fetched else "exit 1", self.log, fetched
            ),
        )

    def set_up(self, **variables):
        """Sources setup_environment.sh; returns (exit code, folder of the environment, stderr)."""
        program = f". {tiny.ROOT}/scripts/setup_environment.sh requirements.txt " 'requirements/figures.txt; echo "$? $VENV"'
        process = subprocess.Popen(
            ["bash", "-c", program],
            cwd=str(self.project),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            env=dict(dict(PATH=str(self.bin), HOME=str(self.folder)), **variables),
        )
        stdout, stderr = process.communicate()
        code, folder = stdout.split()
        return int(code), folder, stderr

    def pins(self, constraints=False):
        """Returns {package: version} of the installed requirements, or of their constraints."""
        lines = [line.split() for line in self.log.read_text().splitlines() if "==" in line]
        words = [line[int(constraints)].rstrip(";") for line in lines if constraints == (line[0] == "constraint:")]
        return dict(word.split("==") for word in words)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_other_packages_do_not_replace_numpy_and_protobuf(machine):
    machine.python("python3.11", "3.11")
    assert machine.set_up(TF_VERSION="2.12.1")[0] == 0
    log = machine.log.read_text()
    assert log.index("tensorflow==2.12.1") < log.index("constraint: numpy==")
    assert machine.pins(constraints=True) == {"numpy": "1.17.4+nv", "protobuf": "3.8.0"}


def notes(stderr):
    """Returns the lines of standard error that are not commands."""
    return [line for line in stderr.splitlines() if not line.startswith("+ ")]


def test_tensorflow_1_is_installed_where_there_is_a_python_3_7(machine):
    machine.python("python3.11", "3.11")
    machine.python("python3", "3.7")
    code, folder, stderr = machine.set_up()
    assert (code, folder, notes(stderr)) == (0, ".venv", [])
    assert machine.pins()["tensorflow"] == "1.15.3" and machine.pins()["numpy"] == "1.18.5"


@pytest.mark.parametrize(
    "name, version",
    [
        ("python3.11", "3.11"),
        ("python3.10", "3.10"),
        ("python3.9", "3.9"),
        ("python3", "3.10"),
        ("python", "3.9"),
        ("../.pyenv/versions/3.10.13/bin/python", "3.10"),
        ("../conda/envs/mine/bin/python", "3.11"),
    ],
)
def test_without_python_3_7_tensorflow_2_is_installed_and_one_line_says_so(machine, name, version):
    machine.python("python3.12", "3.12")
    machine.python(name, version)
    machine.script(machine.bin / "conda", "#!/usr/bin/env bash\necho %s\n" % (machine.folder / "conda"))
    code, folder, stderr = machine.set_up()
    assert (code, folder) == (0, ".venv")
    (line,) = notes(stderr)
    assert line.startswith("No Python 3.7 found: using TensorFlow 2.15.1 with ") and "python" in line
    assert machine.pins()["tensorflow"] == "2.15.1" and machine.pins()["numpy"] == "1.26.4"
    machine.log.write_text("")
    # A second call installs nothing.
    assert machine.set_up() == (0, ".venv", "") and machine.log.read_text() == ""
    machine.python("python3.7", "3.7")
    assert machine.set_up() == (0, ".venv", "")  # keeps the environment


@pytest.mark.parametrize("system, processor", [("Darwin", "arm64"), ("Linux", "aarch64")])
def test_on_arm_tensorflow_2_is_installed_at_once(machine, system, processor):
    machine.python("python3.7", "3.7")
    machine.python("python3.11", "3.11")
    (machine.bin / "uname").unlink()
    machine.script(machine.bin / "uname", f"#!/usr/bin/env bash\n[ $1 = -s ] && echo {system} || echo {processor}\n")
    code, _, stderr = machine.set_up()
    assert (code, notes(stderr)) == (
        0,
        [f"TensorFlow 1.15 has no wheels for {processor}: using TensorFlow 2.15.1 with python3.11."],
    )
    assert machine.pins()["tensorflow"] == "2.15.1"
    assert machine.set_up(TF_VERSION="1.15.3")[::2] == (
        2,
        f"error: TensorFlow 1.15.3 has no wheels for {processor}: set TF_VERSION=2.15.1\n",
    )


@pytest.mark.parametrize("uv_is_installed", [True, False])
def test_uv_fetches_python_3_11_where_only_other_versions_are_installed(machine, uv_is_installed):
    machine.python("python3", "3.12", uv=True)
    fetched = machine.python("../uv/python3.11", "3.11")
    machine.uv(machine.bin / "uv" if uv_is_installed else machine.folder / "log.uv", fetched)
    code, folder, stderr = machine.set_up()
    assert (code, folder) == (0, ".venv")
    assert notes(stderr) == [
        "No Python 3.7 or 3.9 to 3.11 with venv found: fetching Python 3.11 with uv for TensorFlow 2.15.1."
    ]
    assert "uv python install 3.11\n" in machine.log.read_text() and f"+ {fetched} -m venv" in stderr
    assert (".venv.uv" in machine.log.read_text()) != uv_is_installed


@pytest.mark.parametrize("variables", [{}, {"TF_VERSION": "2.15.1"}])
def test_a_download_that_fails_is_reported(machine, variables):
    machine.python("python3", "3.13", uv=False)
    code, _, stderr = machine.set_up(**variables)
    assert code == 2 and len(notes(stderr)) == 2 and not (machine.project / ".venv").exists()
    assert notes(stderr)[1].startswith(
        "error: TensorFlow 2.15.1 needs Python 3.9 to 3.11, and uv could not fetch one: install "
        "one with `conda create -n py311 python=3.11` or `pyenv install 3.11` (PYTHON="
    )


def test_a_version_that_pip_cannot_install_is_reported(machine):
    machine.python("python3.11", "3.11", pip=False)
    code, _, stderr = machine.set_up(TF_VERSION="2.15.9")
    assert code == 2 and not list(machine.project.glob(".venv-2.15.9/installed-*"))
    assert notes(stderr)[-1].startswith("error: pip could not install .venv-2.15.9/adapted/tf2.txt, for the reason above: ")
    assert stderr.endswith("that TensorFlow 2.15.9 exists (TF_VERSION)\n")


@pytest.mark.parametrize("pip", [True, False])
def test_a_python_without_venv_is_skipped_and_the_missing_package_named(machine, pip):
    machine.python("python3", "3.11", venv=False, pip=pip)
    code, _, stderr = machine.set_up()
    assert code == 2
    assert (
        "uv could not fetch one: python3 lacks venv or ensurepip: install it (Debian, Ubuntu: "
        "apt-get install python3-venv)" in stderr
    )
    fetched = machine.python("../uv/python3.11", "3.11")
    machine.uv(machine.bin / "uv", fetched)
    assert machine.set_up()[0] == 0


@pytest.mark.parametrize("version", ["1.13.2", "1.14.0", "1.15.5"])
def test_another_tensorflow_1_gets_an_environment_of_its_own(machine, version):
    machine.python("python3.7", "3.7")
    code, folder, stderr = machine.set_up(TF_VERSION=version)
    assert (code, folder, notes(stderr)) == (0, ".venv-" + version, [])
    pins = machine.pins()
    assert (pins["tensorflow"], pins["numpy"], pins["protobuf"]) == (version, "1.18.5", "3.20.3") and "matplotlib" in pins


@pytest.mark.parametrize("version, numpy", [("2.12.1", "1.23.5"), ("2.14.0", "1.23.5"), ("2.15.1", "1.26.4")])
def test_another_tensorflow_2_gets_matching_pins(machine, version, numpy):
    machine.python("python3.7", "3.7")
    machine.python("python3.10", "3.10")
    code, folder, stderr = machine.set_up(TF_VERSION=version)
    assert (code, folder, notes(stderr)) == (0, ".venv-" + version, [])
    assert (machine.pins()["tensorflow"], machine.pins()["numpy"]) == (version, numpy)


def test_tensorflow_1_without_python_3_7_is_refused(machine):
    machine.python("python3", "3.11", uv=True)
    code, _, stderr = machine.set_up(TF_VERSION="1.15.3")
    assert code == 2 and stderr.count("\n") == 1
    assert stderr.startswith("error: TensorFlow 1.15.3 needs Python 3.7, and none was found: install it with `conda create")
    assert "pyenv install 3.7.17" in stderr and stderr.endswith("or set TF_VERSION=2.15.1\n")


@pytest.mark.parametrize(
    "version, message",
    [
        ("2.16.1", "2.16 and later have no estimators; set TF_VERSION=2.15.1"),
        ("2.20", "2.16 and later have no estimators; set TF_VERSION=2.15.1"),
        ("3.0.0", "2.16 and later have no estimators; set TF_VERSION=2.15.1"),
        ("1.12.0", "is not supported: set it to 1.13 to 1.15"),
        ("2.3.0", "is not supported: set it to 1.13 to 1.15"),
        ("two", "is not supported: set it to 1.13 to 1.15"),
    ],
)
def test_unsupported_versions_are_refused(machine, version, message):
    machine.python("python3.11", "3.11")
    code, _, stderr = machine.set_up(TF_VERSION=version)
    assert code == 2 and stderr.startswith(f"error: TF_VERSION={version}") and message in stderr and stderr.count("\n") == 1


@pytest.mark.parametrize(
    "variables, message",
    [
        (
            {"PYTHON": "python3.12"},
            "PYTHON=python3.12 is Python 3.12, and TensorFlow 2.15.1 needs Python 3.9 to 3.11: name another",
        ),
        (
            {"PYTHON": "python3.11", "TF_VERSION": "1.14.0"},
            "PYTHON=python3.11 is Python 3.11, and TensorFlow 1.14.0 needs Python 3.7: ",
        ),
        (
            {"PYTHON": "python3.7", "TF_VERSION": "2.15.1"},
            "PYTHON=python3.7 is Python 3.7, and TensorFlow 2.15.1 needs Python 3.9",
        ),
        ({"PYTHON": "python0"}, "PYTHON=python0 is not a Python interpreter"),
        (
            {"PYTHON": "python3.9"},
            "PYTHON=python3.9 has no venv or ensurepip module: install it (Debian, Ubuntu: apt-get install python3-venv)",
        ),
    ],
)
def test_a_named_python_that_does_not_fit_is_refused(machine, variables, message):
    for version in ("3.7", "3.11", "3.12"):
        machine.python("python" + version, version)
    machine.python("python3.9", "3.9", venv=False)
    code, _, stderr = machine.set_up(**variables)
    assert code == 2 and stderr.startswith("error: " + message) and stderr.count("\n") == 1


def test_a_named_python_is_used(machine):
    machine.python("python3.7", "3.7")
    machine.python("mine", "3.10")
    code, _, stderr = machine.set_up(PYTHON="mine")
    assert (code, notes(stderr)) == (0, []) and "+ mine -m venv .venv\n" in stderr
    assert machine.pins()["tensorflow"] == "2.15.1"
    assert machine.set_up(PYTHON="python3.7") == (
        0,
        ".venv",
        "PYTHON=python3.7 (3.7) is not used: .venv exists and has Python 3.10.\n",
    )


def test_an_interrupted_environment_is_created_again(machine):
    machine.python("python3.7", "3.7")
    machine.set_up()
    (machine.project / ".venv" / "unfinished").write_text("")
    for name in ("requirements.txt", "figures.txt"):
        (machine.project / ".venv" / ("installed-" + name)).unlink()
    code, _, stderr = machine.set_up()
    assert code == 0 and "+ python3.7 -m venv .venv\n" in stderr and not (machine.project / ".venv" / "unfinished").exists()


@pytest.mark.parametrize("venv", [True, False])
@pytest.mark.parametrize("version", ["1.15.5", "2.10.0"])
def test_a_system_tensorflow_is_used_as_it_is(machine, version, venv):
    machine.python("python3", "3.8", tensorflow=version, venv=venv)
    code, folder, stderr = machine.set_up(SYSTEM_TENSORFLOW="1")
    assert (code, folder, notes(stderr)) == (0, ".venv-system", [])
    log = machine.log.read_text()
    assert "-m venv --system-site-packages %s.venv-system\n" % ("" if venv else "--without-pip ") in log
    assert not re.search(r"^tensorflow==|^numpy==1\.(18|26)|^protobuf==[^3]", log, re.MULTILINE)
    assert machine.pins(constraints=True) == {"numpy": "1.17.4+nv", "protobuf": "3.8.0"}
    assert "nltk" in machine.pins() and "cloud-tpu-client" in machine.pins() and "absl-py" not in machine.pins()
    assert machine.set_up(SYSTEM_TENSORFLOW="1") == (0, ".venv-system", "")


@pytest.mark.parametrize(
    "tensorflow, version, variables, message",
    [
        (None, "3.8", {}, "SYSTEM_TENSORFLOW is set, but neither python3 nor python can import tensorflow: set PYTHON to"),
        (None, "3.8", {"PYTHON": "python3"}, "SYSTEM_TENSORFLOW is set, but python3 can import tensorflow"),
        ("2.16.1", "3.11", {}, "python3 has TensorFlow 2.16.1: 1.13 to 2.15 are supported"),
        ("1.12.0", "3.7", {}, "python3 has TensorFlow 1.12.0: 1.13 to 2.15 are supported"),
        ("1.15.0", "3.6", {}, "python3 is Python 3.6: SYSTEM_TENSORFLOW needs Python 3.7 to 3.11"),
        (
            "1.15.0",
            "3.7",
            {"TF_VERSION": "1.15.0"},
            "SYSTEM_TENSORFLOW uses the installed TensorFlow: unset it or TF_VERSION",
        ),
    ],
)
def test_a_system_without_a_suitable_tensorflow_is_refused(machine, tensorflow, version, variables, message):
    machine.python("python3", version, tensorflow=tensorflow)
    code, _, stderr = machine.set_up(SYSTEM_TENSORFLOW="1", **variables)
    assert code == 2 and stderr.startswith("error: " + message) and stderr.count("\n") == 1
    assert not (machine.project / ".venv-system").exists()


def test_a_system_tensorflow_that_is_in_an_environment_is_refused(machine):
    base = machine.python("base", "3.8")
    machine.python("python3", "3.8", tensorflow="1.15.5", in_environment=base)
    code, _, stderr = machine.set_up(SYSTEM_TENSORFLOW="1")
    assert code == 2 and not (machine.project / ".venv-system").exists()
    assert notes(stderr)[0].startswith("error: environments created with python3 do not see its TensorFlow 1.15.5, because")


def test_protocol_scripts_use_the_environment_that_was_set_up(tmp_path):
    for folder in (".venv", ".venv-2.12.1", ".venv-system"):
        (tmp_path / folder / "bin").mkdir(parents=True)
        os.symlink(shutil.which("true"), str(tmp_path / folder / "bin" / "python"))
    for variables, python in [
        ("", ".venv/bin/python"),
        ("TF_VERSION=2.12.1", ".venv-2.12.1/bin/python"),
        ("SYSTEM_TENSORFLOW=1", ".venv-system/bin/python"),
        ("TF_VERSION=2.13.1", "python"),
        ("PYTHON=mine", "mine"),
    ]:
        program = (
            f"unset PYTHON TF_VERSION SYSTEM_TENSORFLOW; {variables or ':'}; . {tiny.ROOT}/scripts/protocol.sh; echo $PYTHON"
        )
        assert subprocess.check_output(["bash", "-c", program], cwd=str(tmp_path)).decode().strip() == python


def test_protocol_scripts_pass_the_flags_of_the_tpu():
    stdout = protocol("train_squad.sh", TPU_NAME="mine", TPU_ZONE="us central", GS_BUCKET="gs://bucket")[1]
    assert " --use_tpu=True --tpu_name=mine --tpu_zone=us\\ central --do_lower_case=False " in stdout


def test_a_foreign_environment_is_left_alone(machine):
    machine.python("python3.7", "3.7")
    folder = machine.project / ".venv"
    folder.mkdir()
    (folder / "pyvenv.cfg").write_text("home = elsewhere\n")
    code, _, stderr = machine.set_up()
    assert (code, stderr) == (
        2,
        "error: .venv is not an environment of this project: remove it, or set VENV to another folder\n",
    )
    assert os.listdir(str(folder)) == ["pyvenv.cfg"]


def check_packages(folder, distribution, missing=(), version_info=None):
    """Imports check_environment with fake packages; returns (exit code, message).

    Args:
        folder: where the packages are written.
        distribution: name of TensorFlow's metadata folder, or None.
        missing: packages that are not written.
        version_info: that of the interpreter, default the real one.
    """
    for name in ("tensorflow", "numpy", "scipy", "absl", "tqdm", "nltk", "googleapiclient", "oauth2client"):
        if name not in missing:
            (folder / name).mkdir()
            (folder / name / "__init__.py").write_text("raise SystemExit('imported')\n")
    if distribution:
        (folder / distribution).mkdir()
    program = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); sys.version_info = "
        f"{version_info or tuple(sys.version_info)!r}; from mrc.util import check_environment"
    )
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", program], cwd=tiny.ROOT, stderr=subprocess.PIPE, universal_newlines=True
    )
    stderr = process.communicate()[1]
    return process.returncode, stderr


@pytest.mark.parametrize(
    "distribution",
    [
        "tensorflow-1.13.2.dist-info",
        "tensorflow-1.15.3-py3.7.egg-info",
        "tensorflow_cpu-2.15.1.dist-info",
        "tensorflow_gpu-1.15.5.dist-info",
        "tensorflow_intel-2.12.1.dist-info",
        "tensorflow_macos-2.15.0.dist-info",
        "tensorflow_cpu_aws-2.15.1.dist-info",
        "nvidia_tensorflow-1.15.5+nv23.3.dist-info",
        "tf_nightly-2.15.0.dev20230901.dist-info",
        "tensorflow_estimator-2.16.0.dist-info",
        None,
    ],
)
@pytest.mark.parametrize("version_info", [(3, 7, 16), (3, 8, 10), (3, 11, 7)])
def test_supported_tensorflows_are_accepted_without_an_import(tmp_path, distribution, version_info):
    assert check_packages(tmp_path, distribution, version_info=version_info) == (0, "")


@pytest.mark.parametrize(
    "distribution, message",
    [
        (
            "tensorflow-2.16.1.dist-info",
            "has TensorFlow 2.16.1, which has no estimators: install 2.15.1; run `. scripts/setup",
        ),
        (
            "tensorflow_cpu-2.20.0.dist-info",
            "has TensorFlow 2.20.0, which has no estimators: install 2.15.1; run `. scripts/setup",
        ),
        (
            "tensorflow-1.12.0.dist-info",
            "has TensorFlow 1.12.0: 1.13 to 2.15 are supported, for example 2.15.1; run `. scripts/setup",
        ),
    ],
)
def test_unsupported_tensorflows_are_reported(tmp_path, distribution, message):
    code, stderr = check_packages(tmp_path, distribution)
    assert code == 2 and message in stderr and stderr.count("\n") == 1


def test_missing_packages_are_named(tmp_path):
    code, stderr = check_packages(tmp_path, "tensorflow-2.15.1.dist-info", missing=("tqdm", "nltk"))
    assert code == 2 and " has no tqdm, nltk; run `. scripts/setup" in stderr


def test_an_old_python_is_reported(tmp_path):
    code, stderr = check_packages(tmp_path, "tensorflow-1.15.3.dist-info", version_info=(3, 6, 15))
    assert code == 2 and stderr.startswith(
        f"error: Python 3.6 at {sys.executable} is too old: Python 3.7 to 3.11 is needed; run `"
    )


@pytest.mark.parametrize(
    "script",
    [
        "run_squad.py",
        "run_cmrc2018.py",
        "squad_evaluate.py",
        "cmrc2018_evaluate.py",
        "visualize_zones.py",
        "correlate.py",
        "compare.py",
        "report.py",
        "demo/sample_data.py",
        "demo/make_checkpoint.py",
    ],
)
def test_a_python_without_the_packages_is_reported(script):
    process = subprocess.Popen(
        [sys.executable, "-S", os.path.join(tiny.ROOT, script), "--help"],  # without site-packages
        env={},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    stdout, stderr = process.communicate()
    assert (process.returncode, stdout) == (2, "")
    assert stderr.startswith(
        "error: Python %d.%d at %s has no tensorflow, numpy, scipy, absl, " % (sys.version_info[:2] + (sys.executable,))
    )
    assert "; run `. scripts/setup_environment.sh requirements.txt requirements/figures.txt && . .venv/bin" in stderr
    assert stderr.count("\n") == 1


def test_imported_packages_count_as_installed():
    # Like TensorFlow 1.14, this module has no __spec__.
    program = (
        "import sys, types; sys.modules['tensorflow'] = types.ModuleType('tensorflow'); "
        "from mrc.util import check_environment"
    )
    assert subprocess.call([sys.executable, "-c", program], cwd=tiny.ROOT) == 0


def protocol(script, *words, **variables):
    """Runs a protocol script with a program that does nothing as Python."""
    environment = dict(os.environ, **dict(dict(PYTHON="true", TPU_NAME=""), **variables))
    process = subprocess.Popen(
        ["bash", os.path.join(tiny.ROOT, script)] + list(words),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    stdout, stderr = process.communicate()
    return process.returncode, stdout, stderr


def test_protocol_scripts_report_a_missing_python():
    code, _, stderr = protocol("train_squad.sh", PYTHON="python0")
    assert (code, stderr) == (
        2,
        'error: there is no Python "python0": set PYTHON to one with the requirements, or create ' ".venv\n",
    )


def test_decoding_scripts_report_a_missing_reader(tmp_path):
    code, stdout, stderr = protocol("decode_squad.sh", MODEL_OUTPUT_DIR=str(tmp_path))
    assert (code, stdout) == (2, "") and stderr.startswith(f"error: there is no trained reader in {tmp_path}: train it ")
    assert protocol("decode_squad.sh", "--init_checkpoint=mine.ckpt", MODEL_OUTPUT_DIR=str(tmp_path))[0] == 0
    (tmp_path / "checkpoint").write_text("")
    assert protocol("decode_cmrc2018.sh", MODEL_OUTPUT_DIR=str(tmp_path))[0] == 0


def test_decoding_scripts_draw_an_existing_table(tmp_path):
    (tmp_path / "checkpoint").write_text("")
    assert (
        "A single cell, or data without answers, has no results.csv and no heat map."
        in protocol("decode_squad.sh", MODEL_OUTPUT_DIR=str(tmp_path))[1]
    )
    (tmp_path / "results.csv").write_text("")
    assert (
        f"+ true visualize_zones.py {tmp_path}/results.csv" in protocol("decode_squad.sh", MODEL_OUTPUT_DIR=str(tmp_path))[1]
    )


def test_decoding_scripts_mask_single_heads(tmp_path):
    (tmp_path / "checkpoint").write_text("")
    (tmp_path / "effects.csv").write_text("")
    code, stdout, _ = protocol("decode_squad.sh", MODEL_OUTPUT_DIR=str(tmp_path), MASK_HEAD="each")
    decoding, drawing = stdout.splitlines()
    assert code == 0 and "--mask_layer=each --mask_head=each" in decoding
    figure = f"{tmp_path}/effects.csv {tmp_path}/heads.png"
    assert drawing == f"+ true visualize_zones.py {figure} --annotate"
    stdout = protocol("decode_squad.sh", MODEL_OUTPUT_DIR=str(tmp_path))[1]
    assert "--mask_head" not in stdout and "A single cell, or data" in stdout


def test_files_of_a_large_grid_may_be_open_at_once():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (250, before[1]))
        files.allow_open(100)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (300, before[1])
        files.allow_open(50)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (300, before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
