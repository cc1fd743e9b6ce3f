# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""segment_node: the managed node that turns camera images into masks."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from lrn_ros.errors import RunError, UserError
from lrn_ros.inference.backends.base import BackendError
from lrn_ros.inference.cache import EngineCache
from lrn_ros.inference.frame_sizes import FrameSizes
from lrn_ros.inference.segmenter import Segmenter
from lrn_ros.inference.supervisor import NotReady, Supervisor
from lrn_ros.memory import keep_freed_memory, resident_mb
from lrn_ros.model.artifact import SUFFIXES
from lrn_ros.ros import diagnostics
from lrn_ros.ros.camera import Camera, Frame
from lrn_ros.ros.log import log_to
from lrn_ros.ros.parameters import SPECS, Settings, check, check_all
from lrn_ros.ros.shared_memory import shared_memory_fault
from lrn_ros.ros.statistics import Snapshot
from lrn_ros.ros.worker import Worker

_FOLLOW_S = 0.5  # how often the publishers' offers are looked at
_HINT_S = 5.0  # an unconfigured node says how to go on after this long
_STOP_S = 0.2  # a signal is noticed within this long


class SegmentationNode(LifecycleNode):
    """Subscribes cameras, runs the Segmenter, publishes masks; see docs for topics and parameters.

    The executor's thread receives images, a worker thread segments and publishes them, a third
    one publishes /diagnostics.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("segmentation", **options)
        self._phase = "unconfigured"
        self._failure = ""
        self._settings: Settings | None = None
        self._supervisor: Supervisor | None = None
        self._worker: Worker | None = None
        self._cameras: list[Camera] = []
        self._previous: dict[str, Snapshot] = {}
        for spec in SPECS.values():
            # Dynamically typed: an override of a wrong type is refused at configure with a clear
            # message, where a static type would end the process.
            how = "live" if spec.live else "fixed while configured"
            descriptor = ParameterDescriptor(
                description=f"{spec.meaning} ({how})",
                additional_constraints=spec.kind.allowed,
                dynamic_typing=True,
            )
            self.declare_parameter(spec.name, spec.default, descriptor)
        self.add_on_set_parameters_callback(self._on_parameters)
        self._transport_fault = shared_memory_fault()
        if self._transport_fault:
            self.get_logger().warning(self._transport_fault)
        self._heartbeat = diagnostics.Heartbeat(self, self._report)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._follow_timer = self.create_timer(_FOLLOW_S, self._follow, clock=steady)
        self._start_timer = self.create_timer(0.0, self._autostart, clock=steady)
        self._hint_timer = self.create_timer(_HINT_S, self._hint, clock=steady)

    # Lifecycle -----------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check the parameters, load the model, create topics."""
        self._phase = "configuring"
        try:
            self._configure()
        except UserError as error:
            return self._fail(str(error))
        except Exception as error:
            return self._fail(f"{type(error).__name__}: {error}")
        self._phase, self._failure = "inactive", ""
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Publish the class names and accept images."""
        assert self._worker is not None
        self._publish_labels()
        self._worker.activate()
        self._phase = "active"
        self.get_logger().info("active")
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Finish the frame in work and drop the others."""
        assert self._worker is not None
        self._worker.deactivate()
        self._phase = "inactive"
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the model and remove the topics."""
        self._release()
        self._phase = "unconfigured"
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything; the node is finished afterwards."""
        self._release()
        self._phase = "finalized"
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything; the node can be configured again."""
        self._release()
        self._phase = "unconfigured"
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """End the threads and release everything."""
        self._heartbeat.stop()
        self._release()
        super().destroy_node()

    def _configure(self) -> None:
        settings = self._settings = check_all(self._values())
        log = self.get_logger()

        cache = settings.engine_cache_dir or None
        sizes = FrameSizes(
            EngineCache(None if cache is None else Path(cache).expanduser()),
            self.get_fully_qualified_name(),
        )
        self._supervisor = Supervisor(
            lambda given_up: self._load(settings, sizes, given_up), lambda text: log.warning(text)
        )
        info = self._supervisor.segmenter.info
        log.info(f"model {info.name} ({info.architecture}), licence {info.license}")
        for prefix in settings.cameras:  # one by one: if a later one fails these are removed
            camera = Camera(
                self,
                prefix,
                compressed=settings.image_transport == "compressed",
                with_info=settings.output_size == "network",
                deliver=self._deliver,
            )
            self._cameras.append(camera)
        self._worker = Worker(self, self._supervisor, self._cameras, self.settings, sizes)
        for camera in self._cameras:
            log.info(f"subscribed {camera.topic} as {camera.reliability}")

    def _load(
        self, settings: Settings, sizes: FrameSizes, given_up: Mapping[str, str]
    ) -> Segmenter:
        """Load the model and compile the trained size and those remembered."""
        log = self.get_logger()
        segmenter = Segmenter.load(
            settings.model,
            backend=settings.backend,
            precision=settings.precision,
            network_size=settings.network_size,
            threads=settings.threads,
            device=settings.device,
            cache_dir=settings.engine_cache_dir or None,
            given_up=given_up,
            label_map=settings.label_map,
        )
        for name, reason in segmenter.passed_over:
            log.info(f"backend {name} passed over: {reason}")
        backend = segmenter.backend
        segmenter.warm_up(*segmenter.info.size, settings.output_size)
        for height, width in sizes.remembered():
            try:
                segmenter.warm_up(height, width, settings.output_size)
            except BackendError as error:  # it may never come again
                log.warning(f"frames of {height}x{width}, as seen last time, cannot run: {error}")
        log.info(f"backend {backend.name} {backend.precision} on {backend.device_name}")
        return segmenter

    def _publish_labels(self) -> None:
        assert self._supervisor is not None
        segmenter, settings = self._supervisor.segmenter, self.settings()
        for camera in self._cameras:
            camera.outputs.publish_labels(
                segmenter.labels, segmenter.ids, settings.confidence_threshold, settings.palette
            )

    def _deliver(self, camera: Camera, frame: Frame) -> None:
        if self._worker is None:
            camera.statistics.dropped("inactive")
        else:
            self._worker.deliver(camera, frame)

    def _fail(self, reason: str) -> TransitionCallbackReturn:
        self._release()
        self._phase, self._failure = "unconfigured", reason
        self.get_logger().error(f"configure failed: {reason}")
        return TransitionCallbackReturn.FAILURE

    def _release(self) -> None:
        if self._worker is not None:
            self._worker.stop()
        if self._supervisor is not None:
            self._supervisor.close()
        for camera in self._cameras:
            camera.destroy()
        self._worker = self._supervisor = self._settings = None
        self._cameras, self._previous = [], {}

    @property
    def is_configuring(self) -> bool:
        """Whether a model is being loaded at this moment."""
        return self._phase == "configuring"

    # Parameters ----------------------------------------------------------------------------

    def _values(self) -> dict[str, Any]:
        return {name: self.get_parameter(name).value for name in SPECS}

    def settings(self) -> Settings:
        """The checked settings at this moment."""
        if self._settings is None:
            raise RuntimeError("the node is not configured")
        return self._settings

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Check new values; live ones take effect with the next frame."""
        changed: dict[str, Any] = {}
        for parameter in parameters:
            spec = SPECS.get(parameter.name)
            if spec is None:
                continue
            try:
                value = check(spec.name, parameter.value)
            except UserError as error:
                return SetParametersResult(successful=False, reason=str(error))
            if refusal := self._refusal(spec.name, spec.live, parameter.value):
                return SetParametersResult(successful=False, reason=refusal)
            changed[spec.name] = value
        if self._settings is not None and changed:
            self._settings = replace(self._settings, **changed)
            if {"confidence_threshold", "palette"} & set(changed) and self._phase == "active":
                self._publish_labels()
        return SetParametersResult(successful=True)

    def _refusal(self, name: str, live: bool, value: Any) -> str:
        """Why a valid value cannot be set now; empty when it can."""
        if live:
            return ""
        if name == "autostart":
            return "parameter 'autostart' is read at process start only"
        if self._phase not in ("unconfigured", "finalized"):
            command = f"ros2 lifecycle set {self.get_fully_qualified_name()}"
            steps = [f"{command} cleanup"]
            if self._phase == "active":
                steps.insert(0, f"{command} deactivate")
            return (
                f"parameter '{name}' is fixed while the node is {self._phase}; first:"
                f" {' && '.join(steps)}"
            )
        is_path = isinstance(value, str) and ("/" in value or Path(value).exists())
        if (name == "model" and (is_path or value.endswith(SUFFIXES))) or (
            name == "label_map" and (is_path or value.endswith((".yaml", ".yml")))
        ):
            return f"parameter '{name}': a path is taken at process start only, later a name works"
        if name == "engine_cache_dir" and value:
            return "parameter 'engine_cache_dir': a path is taken at process start only"
        return ""

    # Timers and reports --------------------------------------------------------------------

    def _autostart(self) -> None:
        self._start_timer.cancel()
        try:
            wanted = check("autostart", self.get_parameter("autostart").value)
        except UserError as error:
            self._fail(str(error))
            return
        if not wanted or self._phase != "unconfigured":
            return
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def _hint(self) -> None:
        self._hint_timer.cancel()
        if self._phase == "unconfigured":
            name = self.get_fully_qualified_name()
            self.get_logger().info(f"unconfigured; next: ros2 lifecycle set {name} configure")

    def _follow(self) -> None:
        for camera in self._cameras:
            camera.follow_peers()

    def _report(self) -> list[DiagnosticStatus]:
        """Statuses for /diagnostics; called from the heartbeat's thread."""
        name, phase = self.get_name(), self._phase
        supervisor, settings, cameras = self._supervisor, self._settings, list(self._cameras)
        values = {"state": phase, "memory_mb": f"{resident_mb():.0f}"}
        level, message = DiagnosticStatus.OK, phase
        if self._failure:
            level, message = DiagnosticStatus.ERROR, f"configure failed: {self._failure}"
        elif phase == "unconfigured":
            level = DiagnosticStatus.WARN
            full = self.get_fully_qualified_name()
            message = f"unconfigured; next: ros2 lifecycle set {full} configure"
        if self._transport_fault:
            values["shared_memory"] = self._transport_fault
        if supervisor is not None:
            values |= _backend_values(supervisor)
            verdict, text = diagnostics.supervisor_verdict(supervisor.status())
            if text:
                level, message = verdict, text
        statuses = [diagnostics.status(f"{name}: node", level, message, values)]
        for camera in cameras if settings is not None else ():
            statuses.append(self._camera_status(camera, settings, phase))  # type: ignore[arg-type]
        return statuses

    def _camera_status(self, camera: Camera, settings: Settings, phase: str) -> DiagnosticStatus:
        snapshot = camera.statistics.snapshot()
        level, message = DiagnosticStatus.OK, phase
        if phase == "active":
            previous = self._previous.get(camera.prefix)
            level, message = diagnostics.camera_verdict(snapshot, previous, settings)
        self._previous[camera.prefix] = snapshot
        values = diagnostics.camera_values(snapshot, camera.topic, camera.reliability)
        return diagnostics.status(f"{self.get_name()}: {camera.name}", level, message, values)


def _backend_values(supervisor: Supervisor) -> dict[str, str]:
    """Model and backend as key-value strings; empty while there is none."""
    try:
        segmenter = supervisor.segmenter
    except (NotReady, RunError):
        return {}
    info, backend = segmenter.info, segmenter.backend
    values = {
        "model": info.name,
        "licence": info.license,
        "backend": backend.name,
        "precision": backend.precision,
        "device": backend.device_name,
    }
    return values | {f"passed over {n}": reason for n, reason in segmenter.passed_over}


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; a second signal changes nothing.

    `ros2 launch` sends SIGINT and the terminal sends it once more: the handlers are ours, since
    rclpy's would interrupt the clean-up.
    """
    keep_freed_memory()
    # Its pool's threads wait busily, half a millisecond of processor time an image, which the
    # backend's threads need (benchmark/transport.py).
    cv2.setNumThreads(1)
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node = SegmentationNode()
    log_to(node.get_logger())
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    stopped: list[int] = []

    def stop(number: int, _: Any) -> None:
        stopped.append(number)
        if node.is_configuring and len(stopped) == 1:
            raise KeyboardInterrupt  # loading a model may take longer than anybody wants to wait

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        while not stopped:
            executor.spin_once(timeout_sec=_STOP_S)
    except KeyboardInterrupt:
        pass
    finally:
        executor.shutdown(timeout_sec=0.5)
        node.destroy_node()
        # It holds the participant, whose leave peers would otherwise not be told below. No public
        # part of rclpy: it may be called otherwise some day.
        if (machine := getattr(node, "_state_machine", None)) is not None:
            machine.destroy_when_not_in_use()
        rclpy.try_shutdown()
    if any(thread.daemon for thread in threading.enumerate()):
        # One still compiles: the interpreter's end would crash the library that it is in.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
