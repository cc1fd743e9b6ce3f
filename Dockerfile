# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
#
# UNTRIED: written from the documentation, not yet built.
#
#   docker build -t lrn_ros .
#   docker run --rm -it --net=host --ipc=host lrn_ros
#   docker run --rm -it --net=host --ipc=host --gpus all lrn_ros \
#     ros2 launch lrn_ros segment.launch.py image:=/front/image_raw
#
# --ipc=host: DDS exchanges images through /dev/shm. Without it the container has a /dev/shm of its
# own, images from camera drivers outside arrive as UDP fragments, and many are lost.
# --shm-size=512m instead, when nothing outside the container publishes or reads images: Docker's
# default of 64 MB is less than two processes' segments of 64 MB (config/fastdds_shared_memory.xml).
# --net=host: DDS discovery uses multicast, which Docker's bridge network does not pass on.
FROM ros:jazzy-ros-base

ARG TORCH=torch==2.13.0
# https://download.pytorch.org/whl/cpu for an image without CUDA
ARG TORCH_INDEX=https://pypi.org/simple

RUN apt-get update && apt-get install -y --no-install-recommends \
      python3-numpy python3-opencv python3-pip python3-tqdm python3-venv python3-yaml \
      ros-jazzy-vision-msgs \
    && rm -rf /var/lib/apt/lists/*

# Only what has no Debian package. The system's NumPy is kept: ROS packages are compiled against it.
RUN python3 -m venv --system-site-packages /opt/venv \
    && numpy="numpy==$(python3 -c 'import numpy; print(numpy.__version__)')" \
    && /opt/venv/bin/pip install --no-cache-dir --index-url "${TORCH_INDEX}" "${TORCH}" \
    && /opt/venv/bin/pip install --no-cache-dir safetensors rosbags "${numpy}"
ENV PATH=/opt/venv/bin:$PATH

COPY . /ws/src/lrn_ros
WORKDIR /ws
RUN . /opt/ros/jazzy/setup.sh && colcon build --packages-select lrn_ros

# The base image's entry point sources ROS; this one adds the workspace.
RUN printf '#!/bin/bash\nset -e\nsource /ws/install/setup.bash\nexec "$@"\n' > /entrypoint.sh \
    && chmod +x /entrypoint.sh
ENTRYPOINT ["/entrypoint.sh"]
CMD ["ros2", "launch", "lrn_ros", "segment.launch.py"]
