"""The C library of other versions of onnxruntime, and of another processor."""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from small_models import row_model

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
QEMU = shutil.which("qemu-aarch64-static")
DEBIAN_PACKAGES = (
    *("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib"),
    *("libc6", "libexpat1", "libffi8", "libgcc-s1", "libstdc++6", "zlib1g"),
)
# As on a Graviton, as onnxruntime reads it.
PROCESSOR = """processor : 0
BogoMIPS : 243.75
Features : fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp ssbs
CPU implementer : 0x41
CPU architecture: 8
CPU variant : 0x3
CPU part : 0xd0c
CPU revision : 1
"""
PROGRAM = """
import array, json, sys
from lambda_fn.runtime import Session, Tensor, library_version

with open(sys.argv[1], "rb") as file:
    session = Session(file.read())
rows = array.array("d", [1, 2, 3, 4, float("nan"), 6])
inputs = {"features": Tensor(rows, (2, 3), "float64"), "double_it": Tensor(bytes([1]), (), "bool")}
score, largest, gaps = session.run(["score", "largest", "gaps"], inputs)
print(json.dumps([score.data[0], largest.data[0], gaps.data.tolist(), session.metadata("model_card")]))
"""
ANSWER = [12.0, 2, [False, False, False, False, True, False], "Grüße"]


def run(command, **options):
    """Run a command; skip the test, saying why, where it needs a network that isn't there."""
    ran = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if ran.returncode and ("Failed to fetch" in ran.stderr or "No matching distribution" in ran.stderr):
        pytest.skip(f"{command[0]} can't fetch what this needs: {ran.stderr.splitlines()[-1]}")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def fetch_wheel(target, requirement, *options):
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--only-binary=:all:", "--target", target]
    run([*pip, *options, requirement])
    return target


@pytest.fixture(scope="module", params=["onnxruntime==1.21.*", "onnxruntime==1.28.0", "onnxruntime"])
def wheel(request, tmp_path_factory):
    """The oldest version that serves, as the first that runs TreeEnsemble 5; the pinned; the newest."""
    return fetch_wheel(tmp_path_factory.mktemp("wheel"), request.param)


def test_everything_that_is_tested_holds_for_other_versions(wheel):
    environment = os.environ | {"PYTHONPATH": str(wheel), "ORT_DISABLE_TELEMETRY": "1"}

    official = run([sys.executable, "-c", "import onnxruntime; print(onnxruntime.__file__)"], env=environment)
    held = ["tests/lambda_fn/test_runtime.py", "tests/export/test_explain.py"]
    run([sys.executable, "-m", "pytest", "-q", *held], env=environment, cwd=ROOT)

    assert Path(official.strip()).is_relative_to(wheel)


def test_no_version_leaves_a_file_behind(wheel, tmp_path):
    home, model = tmp_path / "home", tmp_path / "model.onnx"
    home.mkdir()
    model.write_bytes(row_model())
    # Nothing that is set here may tell onnxruntime to be quiet: the runtime itself has to.
    environment = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "TMPDIR": str(home)}
    environment |= {"PYTHONPATH": os.pathsep.join([str(wheel), str(ROOT)]), "PYTHONDONTWRITEBYTECODE": "1"}

    answer = run([sys.executable, "-S", "-c", PROGRAM, model], env=environment)

    assert json.loads(answer) == ANSWER
    assert list(home.iterdir()) == []


@pytest.fixture(scope="module")
def arm64(tmp_path_factory):
    """A root directory with Debian's Python for arm64 and no /sys, as on Lambda; gives it and how to enter it."""
    if platform.system() != "Linux" or os.geteuid() != 0:
        pytest.skip("changing the root directory takes Linux and root")
    if not (QEMU and shutil.which("apt-get")):
        pytest.skip("qemu-aarch64-static and Debian's apt-get are needed: apt-get install qemu-user-static")
    place = tmp_path_factory.mktemp("arm64")
    for folder in ("state/lists/partial", "cache/archives/partial", "packages", "root/proc", "root/task"):
        (place / folder).mkdir(parents=True)
    (place / "status").touch()
    # An apt of its own, so that the machine's knows nothing of another processor.
    settings = {"Dir::State": "state", "Dir::State::status": "status", "Dir::Cache": "cache"}
    apt = ["apt-get", "-qq", "-o", "APT::Architecture=arm64", "-o", "APT::Architectures=arm64"]
    apt += ["-o", "APT::Sandbox::User=root"]
    apt += [part for name, value in settings.items() for part in ("-o", f"{name}={place / value}")]
    run([*apt, "update"])
    run([*apt, "download", *DEBIAN_PACKAGES], cwd=place / "packages")
    root = place / "root"
    for package in (place / "packages").glob("*.deb"):
        run(["dpkg-deb", "-x", package, root])
    (root / "proc/cpuinfo").write_text(PROCESSOR)
    shutil.copy(QEMU, root / "qemu")
    return root, ["chroot", root, "/qemu", "/usr/bin/python3.11", "-S", "-B"]


@pytest.mark.parametrize("requirement", ["onnxruntime==1.28.0", "onnxruntime"])
def test_arm64_without_sys_gives_the_same(arm64, requirement, tmp_path):
    root, python = arm64
    task = root / "task"
    shutil.rmtree(task)
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in (17, 27, 28, 34)]
    wheel = fetch_wheel(tmp_path / "wheel", requirement, "--python-version=3.11", *platforms)
    (library,) = (wheel / "onnxruntime/capi").glob("libonnxruntime.so.*")
    (task / "onnxruntime/capi").mkdir(parents=True)
    shutil.move(library, task / "onnxruntime/capi")
    shutil.copytree(ROOT / "lambda_fn", task / "lambda_fn")
    (task / "model.onnx").write_bytes(row_model())
    (task / "program.py").write_text(PROGRAM)

    assert not (root / "sys").exists()
    assert json.loads(run([*python, "/task/program.py", "/task/model.onnx"])) == ANSWER
