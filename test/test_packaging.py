# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The package as colcon and pip see it."""

import email
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent

# The documented parameters, written out again so that a change is noticed.
PARAMETERS = {
    "model": "lrnnet_c_camvid",
    "backend": "auto",
    "precision": "auto",
    "device": 0,
    "threads": 0,
    "network_size": [0, 0],
    "output_size": "input",
    "image_transport": "raw",
    "cameras": [""],
    "max_batch": 4,
    "autostart": True,  # the node's own default is false: who starts with a file wants it to run
    "max_age_ms": 0,
    "confidence_threshold": 0.0,
    "overlay_alpha": 0.5,
    "palette": "display",
    "legend": False,
    "lazy": True,
    "stale_after_ms": 1000,
    "temporal_smoothing": False,
    "label_map": "",
    "camera_health": True,
    "health_frozen_frames": 10,
    "health_dark": 0.95,
    "health_saturated": 0.6,
    "health_blurred": 0.75,
    "engine_cache_dir": "",
}
SHARED = ("config/labels/camvid11.yaml", "config/segment.yaml", "config/segment.rviz")
SHARED += ("config/fastdds_shared_memory.xml", "launch/segment.launch.py", "weights/LICENSE")
SHARED += ("config/foxglove.json", "package.xml")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what the package is built from, so that builds write nothing into the checkout."""
    folder = tmp_path_factory.mktemp("source") / "lrn_ros"
    folder.mkdir()
    for name in ("lrn_ros", "config", "launch", "resource", "test", "weights"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("package.xml", "setup.py", "setup.cfg", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


def run(*command, cwd, **variables):
    """The output of a command that must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env=dict(os.environ, **variables),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(source, tmp_path_factory):
    """The prefix that `colcon build` makes."""
    pytest.importorskip("colcon_core")
    base = tmp_path_factory.mktemp("workspace")
    run(
        *("colcon", "--log-base", str(base / "log"), "build", "--base-paths", str(source)),
        *("--build-base", str(base / "build"), "--install-base", str(base / "install")),
        cwd=base,
    )
    return base / "install" / "lrn_ros"


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    """The wheel that pip builds."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    run(
        *("pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"),
        *(str(folder), str(source)),
        cwd=folder,
    )
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_colcon_takes_it_for_an_ament_python_package():
    pytest.importorskip("colcon_core")
    listed = run("colcon", "--log-base", os.devnull, "list", "--base-paths", ".", cwd=ROOT)
    assert re.search(r"^lrn_ros\s+\S+\s+\(ros\.ament_python\)$", listed, re.MULTILINE), listed


def test_package_xml_is_valid_and_agrees_with_setup_py_and_the_module():
    catkin_pkg = pytest.importorskip("catkin_pkg.package")
    import lrn_ros

    warnings = []
    package = catkin_pkg.parse_package(str(ROOT), warnings=warnings)
    package.validate(warnings=warnings)
    assert warnings == []
    assert package.get_build_type() == "ament_python"
    assert [str(text) for text in package.licenses] == ["Apache-2.0", "CC-BY-NC-4.0"]
    for text in package.licenses:
        assert (ROOT / text.file).is_file()
    version = re.search(r'^VERSION = "(.+?)"', (ROOT / "setup.py").read_text(), re.MULTILINE)
    assert package.version == version.group(1) == lrn_ros.__version__


def test_every_imported_ros_package_is_declared():
    catkin_pkg = pytest.importorskip("catkin_pkg.package")
    package = catkin_pkg.parse_package(str(ROOT))
    declared = {dependency.name for dependency in package.exec_depends}
    for_tests = declared | {dependency.name for dependency in package.test_depends}
    files = [*(ROOT / "lrn_ros").rglob("*.py"), *(ROOT / "launch").glob("*.py")]
    pattern = re.compile(
        r"^\s*(?:from|import) (\w+_msgs|\w+_interfaces|rclpy|cv_bridge|launch\w*|ament\w*)\b",
        re.MULTILINE,
    )
    imported = {name for file in files for name in pattern.findall(file.read_text())}
    # What is imported only where it is installed: package.xml names it in a comment.
    comments = " ".join(re.findall(r"<!--(.*?)-->", (ROOT / "package.xml").read_text(), re.DOTALL))
    optional = {name for name in imported - declared if name in comments}
    assert imported and imported - optional <= declared, imported - optional - declared
    imported -= optional
    tests = {name for f in (ROOT / "test").rglob("*.py") for name in pattern.findall(f.read_text())}
    assert "cv_bridge" in for_tests - declared and tests - {"launch"} <= for_tests


def test_the_papers_of_all_networks_are_cited():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert citation["cff-version"] == "1.2.0" and citation["message"] and citation["authors"]
    init = (ROOT / "lrn_ros" / "__init__.py").read_text(encoding="utf-8")
    assert f'__version__ = "{citation["version"]}"' in init
    assert len(citation["references"]) == 4
    for paper in citation["references"]:
        assert paper["title"] in readme and paper["url"] in readme
        for author in paper["authors"]:
            assert author["family-names"] in readme
    for name in ("LRNNet", "LEDNet", "NDNet", "feature refinement module"):
        assert any(name in paper["title"] for paper in citation["references"])


def test_segment_yaml_has_every_parameter_with_its_default_and_a_comment():
    text = (ROOT / "config" / "segment.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text) == {"/**": {"ros__parameters": PARAMETERS}}
    for name in PARAMETERS:
        assert re.search(rf"^    {name}: .+ # .{{9,}}$", text, re.MULTILINE), name


def test_the_node_declares_exactly_these_parameters():
    parameters = pytest.importorskip("lrn_ros.ros.parameters")
    declared = {name: spec.default for name, spec in parameters.SPECS.items()}
    assert declared == PARAMETERS | {"autostart": False}


def test_colcon_puts_executables_and_data_where_ros2_looks(installed):
    assert (installed / "share/ament_index/resource_index/packages/lrn_ros").is_file()
    for name in SHARED:
        assert (installed / "share/lrn_ros" / name).is_file(), name
    for name in ("lrn", "segment_node"):
        script = installed / "lib/lrn_ros" / name
        assert os.access(script, os.X_OK)
        # The Python of an active virtual environment, not the one that built the package.
        assert script.read_text().splitlines()[0] == "#!/usr/bin/env python3"


def test_colcon_test_runs_the_suite(source, installed, tmp_path):
    base = installed.parents[1]
    run(
        *("colcon", "--log-base", str(tmp_path / "log"), "test", "--base-paths", str(source)),
        *("--build-base", str(base / "build"), "--install-base", str(base / "install")),
        *("--test-result-base", str(tmp_path / "result"), "--return-code-on-test-failure"),
        # The whole suite would take an hour.
        *("--pytest-args", "test/model/test_labels.py", "test/model/test_label_mapping.py"),
        cwd=base,
    )
    found = run(
        *("colcon", "--log-base", os.devnull, "test-result", "--all"),
        *("--test-result-base", str(tmp_path / "result")),
        cwd=base,
    )
    counts = re.search(r"Summary: (\d+) tests, 0 errors, 0 failures", found)
    assert counts and int(counts.group(1)) > 20, found


def test_the_colcon_executable_runs_and_finds_its_own_share_folder(installed, tmp_path):
    library = next((installed / "lib").glob("python3*/*-packages"))
    paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = dict(os.environ, PYTHONPATH=str(library), PATH=os.pathsep.join(paths))
    environment["AMENT_PREFIX_PATH"] = str(installed)
    said = subprocess.run(
        [str(installed / "lib/lrn_ros/lrn"), "--help"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert said.returncode == 0 and "demo" in said.stdout, said.stderr
    code = "import lrn_ros.paths as p; print(p.share_folder())"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert Path(found.stdout.strip()) == installed / "share/lrn_ros", found.stderr


def test_the_wheel_has_every_module_and_all_data(wheel):
    names = set(wheel.namelist())
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "lrn_ros").rglob("*.py")}
    assert modules <= names, modules - names
    assert "lrn_ros/py.typed" in names
    data = "lrn_ros-0.1.0.data/data/share/"
    weights = {f"weights/{p.name}" for p in (ROOT / "weights").glob("*.safetensors")}
    assert {f"{data}lrn_ros/{name}" for name in (*SHARED, *weights)} <= names
    assert f"{data}ament_index/resource_index/packages/lrn_ros" in names
    assert not [n for n in names if n.startswith("test")]


def test_the_wheel_puts_the_commands_on_the_path_and_keeps_the_core_small(wheel):
    info = "lrn_ros-0.1.0.dist-info/"
    scripts = wheel.read(info + "entry_points.txt").decode()
    assert "lrn = lrn_ros.cli:main" in scripts
    assert "segment_node = lrn_ros.ros.node:main" in scripts
    metadata = email.message_from_bytes(wheel.read(info + "METADATA"))
    assert metadata["Requires-Python"] == ">=3.10"
    extras = {"ros", "torch", "openvino", "tensorrt", "export", "evaluate", "train", "bags", "dev"}
    assert set(metadata.get_all("Provides-Extra")) == extras | {
        *("scale", "cuda", "teacher", "test", "ros-test", "ros-kilted"),
        *("view", "foxglove", "onnxruntime"),
    }
    core = [r for r in metadata.get_all("Requires-Dist") if "extra ==" not in r]
    names = {re.match(r"[\w-]+", requirement).group() for requirement in core}
    known = {"numpy", "opencv-python-headless", "PyYAML", "safetensors", "tqdm"}
    assert names == known | {"av", "pillow"}  # videos, and label images with a palette
