# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The managed node that turns camera images into masks."""

from __future__ import annotations

import copy
import difflib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from lrn_ros.errors import BackendError, UserError
from lrn_ros.inference.cache import EngineCache, FrameSizes
from lrn_ros.inference.segmenter import LoadedModel, Segmenter
from lrn_ros.inference.supervisor import Supervisor
from lrn_ros.memory import resident_mb
from lrn_ros.model.artifact import SUFFIXES
from lrn_ros.ros import diagnostics, graph
from lrn_ros.ros.camera import Camera, ReceivedFrame
from lrn_ros.ros.guard import Exceptions, one_line
from lrn_ros.ros.parameters import FLAGS, SPECS, Kind, Settings, check, check_all
from lrn_ros.ros.qos import check_overrides
from lrn_ros.ros.shared_memory import shared_memory_fault
from lrn_ros.ros.statistics import Snapshot
from lrn_ros.ros.worker import Worker

_FOLLOW_S = 0.5  # how often the node looks at the publishers' offers
_NAMESAKES_S = 3.0  # how often the node looks for another node of the same name
_HINT_S = 5.0  # after this time an unconfigured node says how to go on
# Parameters that rclpy declares itself.
_OF_RCLPY = ("use_sim_time", "start_type_description_service")


class SegmentationNode(LifecycleNode):
    """Subscribes cameras, runs the Segmenter, publishes masks; docs/node.md has all topics.

    The executor's thread receives images, a worker thread segments and publishes them, and a third
    thread publishes /diagnostics. The supervisor's thread owns the backend.

    Attributes:
        exceptions: counts the exceptions of callbacks and threads that nothing else has handled.
        is_to_end: whether the process has been asked to end, so that no model is loaded any more.
    """

    def __init__(self, **options: Any) -> None:
        self._wrong_flag = ""  # what is wrong with an override of a parameter of rclpy's
        super().__init__("segmentation", **options)
        self.exceptions = Exceptions(self.get_logger().error)
        self.is_to_end: Callable[[], bool] = lambda: False
        self._phase = "unconfigured"
        self._failure = ""
        self._settings: Settings | None = None
        self._supervisor: Supervisor | None = None
        self._model: LoadedModel | None = None  # whose classes are published
        self._worker: Worker | None = None
        self._cameras: list[Camera] = []
        self._previous: dict[str, Snapshot] = {}
        self._namesakes = ""
        self._looked_for_namesakes = time.monotonic()
        self._declare_parameters()
        self._unknown = unknown_parameters(self._parameter_overrides)
        if self._unknown:
            self.get_logger().warning(self._unknown)
        self.add_on_set_parameters_callback(self._on_parameters)
        self._transport_fault = shared_memory_fault()
        if self._transport_fault:
            self.get_logger().warning(self._transport_fault)
        self._heartbeat = diagnostics.Heartbeat(self, self._report, self.exceptions)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._follow_timer = self.create_timer(_FOLLOW_S, self._follow, clock=steady)
        self._start_timer = self.create_timer(0.0, self._autostart, clock=steady)
        self._hint_timer = self.create_timer(_HINT_S, self._hint, clock=steady)

    # Lifecycle -----------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check the parameters, load the model, create topics."""
        self._begin("configuring")
        try:
            self._configure()
        except (UserError, BackendError) as error:
            return self._fail(str(error))
        except Exception as error:
            return self._fail(f"{type(error).__name__}: {one_line(error)}")
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
        self._begin("deactivating")
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
        self._phase, self._failure = "finalized", ""
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

    def _begin(self, phase: str) -> None:
        """Begin what a signal may interrupt."""
        self._phase = phase
        if self.is_to_end():  # a signal that came before the line above has interrupted nothing
            raise KeyboardInterrupt

    def _configure(self) -> None:
        if self._wrong_flag:
            raise UserError(self._wrong_flag)
        settings = self._settings = check_all(self._values())
        log = self.get_logger()
        overrides = self._parameter_overrides.items()
        given = {name: p.value for name, p in overrides if name.startswith("qos_overrides.")}
        check_overrides(given)

        cache = settings.engine_cache_dir or None
        sizes = FrameSizes(
            EngineCache(None if cache is None else Path(cache).expanduser()),
            self.get_fully_qualified_name(),
        )
        self._supervisor = Supervisor(lambda given_up: self._load(settings, sizes, given_up))
        self._model = self._supervisor.model
        info = self._model.info
        log.info(f"model {info.name} ({info.architecture}), licence {info.license}")
        for prefix in settings.cameras:  # one by one: if a later camera fails, these are removed
            camera = Camera(self, prefix, settings.image_transport, self._deliver)
            self._cameras.append(camera)
        written = {publisher.topic_name for publisher in self.publishers}
        for camera in self._cameras:
            if own := written & camera.inputs():
                raise UserError(
                    f"{', '.join(sorted(own))}: the node would read what it publishes there itself;"
                    " remap image, camera_info or the output to another name"
                )
        self._worker = Worker(
            self, self._supervisor, self._cameras, settings, sizes, self.exceptions
        )
        for camera in self._cameras:
            log.info(f"subscribed {camera.topic} as {camera.reliability}")
        if unused := [name for name in given if not self.has_parameter(name)]:
            log.warning(f"no topic of the node takes {', '.join(sorted(unused))}")

    def _load(
        self, settings: Settings, sizes: FrameSizes, given_up: Mapping[str, str]
    ) -> Segmenter:
        """Load the model, and compile the trained size and the sizes of the last run."""
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
        segmenter.warm_up(*segmenter.info.size, settings.output_size)
        for height, width in sizes.remembered():
            try:
                segmenter.warm_up(height, width, settings.output_size)
            except (UserError, BackendError) as error:  # this size may never come again
                log.warning(
                    f"frames of {height}x{width}, which came last time, cannot run: {error}"
                )
        loaded = segmenter.loaded
        log.info(f"backend {loaded.backend} {loaded.precision} on {loaded.device}")
        return segmenter

    def _publish_labels(self) -> None:
        model, settings = self._model, self._settings
        assert model is not None and settings is not None
        for camera in self._cameras:
            camera.outputs.publish_labels(
                model.labels, model.ids, settings.confidence_threshold, settings.palette
            )

    def _deliver(self, camera: Camera, frame: ReceivedFrame) -> None:
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
        worker, supervisor, cameras = self._worker, self._supervisor, self._cameras
        self._worker = self._supervisor = self._settings = self._model = None
        self._cameras, self._previous = [], {}
        if worker is not None:
            worker.stop()
        for camera in cameras:
            camera.destroy()
        if supervisor is not None:
            supervisor.close()

    @property
    def is_interruptible(self) -> bool:
        """Whether the node waits at this moment: for a model, or for frames in a backend."""
        return self._phase in ("configuring", "deactivating")

    # Parameters ----------------------------------------------------------------------------

    def _declare_parameters(self) -> None:
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

    def declare_parameter(self, name: str, *arguments: Any, **options: Any) -> Parameter:
        """Declare a parameter. An override of rclpy's own flags may be a text ("true").

        rclpy would end the process at any value but true and false: such a one fails configure.
        """
        given = self._parameter_overrides.get(name)
        if name in _OF_RCLPY and given is not None and not isinstance(given.value, bool):
            text = str(given.value).strip().lower()
            if text in FLAGS:
                self._parameter_overrides[name] = Parameter(name, value=FLAGS[text])
            else:
                del self._parameter_overrides[name]
                self._wrong_flag = (
                    f"parameter '{name}': {given.value!r} is not allowed; true or false"
                )
        return super().declare_parameter(name, *arguments, **options)

    def set_parameters_atomically(self, parameter_list: Sequence[Parameter]) -> SetParametersResult:
        """Set all of some parameters or none.

        A read-only parameter may be set to the value that it has: `ros2 param load` does that with
        the `qos_overrides` of the node's own dump.
        """
        changed = [
            p
            for p in parameter_list
            if not self.has_parameter(p.name)
            or not super(SegmentationNode, self).describe_parameter(p.name).read_only
            or (self.get_parameter(p.name).type_, self.get_parameter(p.name).value)
            != (p.type_, p.value)
        ]
        return super().set_parameters_atomically(changed)

    def describe_parameter(self, name: str) -> ParameterDescriptor:
        """The descriptor with the range that tools show as a slider.

        The range is not declared to rclpy, because rclpy would end the process at an override out
        of range, and would refuse other values without saying what is allowed.
        """
        descriptor = super().describe_parameter(name)
        if name not in SPECS:
            return descriptor
        described = copy.deepcopy(descriptor)
        described.type = self.get_parameter(name).type_.value
        add_range(described, SPECS[name].kind)
        return described

    def _values(self) -> dict[str, Any]:
        return {name: self.get_parameter(name).value for name in SPECS}

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Check new values; live ones take effect with the next frame."""
        changed: dict[str, Any] = {}
        for parameter in parameters:
            if not parameter.name:  # rclpy refuses any other name that was not declared
                return SetParametersResult(successful=False, reason="a parameter needs a name")
            if parameter.name in _OF_RCLPY:
                self._wrong_flag = ""  # it has a right value now, or rclpy refuses it
            spec = SPECS.get(parameter.name)
            if spec is None:
                continue
            try:
                value = check(spec.name, parameter.value)
            except UserError as error:
                return SetParametersResult(successful=False, reason=str(error))
            fixed = not spec.live and not self._is_present(spec.name, value)
            if fixed and (refusal := self._refusal(spec.name, parameter.value)):
                return SetParametersResult(successful=False, reason=refusal)
            changed[spec.name] = value
        if self._settings is not None and self._worker is not None and changed:
            self._settings = self._worker.settings = replace(self._settings, **changed)
            if {"confidence_threshold", "palette"} & set(changed) and self._phase == "active":
                self._publish_labels()
        return SetParametersResult(successful=True)

    def _is_present(self, name: str, value: Any) -> bool:
        """Whether a parameter has this checked value already."""
        try:
            return bool(check(name, self.get_parameter(name).value) == value)
        except UserError:
            return False

    def _refusal(self, name: str, value: Any) -> str:
        """Why a parameter that is not live cannot get another value now; empty if it can."""
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
        is_path = isinstance(value, str) and ("/" in value or os.path.exists(value))
        if (name == "model" and (is_path or value.endswith(SUFFIXES))) or (
            name == "label_map" and (is_path or value.endswith((".yaml", ".yml")))
        ):
            return f"parameter '{name}': a path works at process start only; later a name works"
        if name == "engine_cache_dir" and value:
            return "parameter 'engine_cache_dir': a path works at process start only"
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
        if self._phase == "unconfigured" and not self._failure:
            name = self.get_fully_qualified_name()
            self.get_logger().info(f"unconfigured; next: ros2 lifecycle set {name} configure")

    def _follow(self) -> None:
        for camera in self._cameras:
            camera.follow_peers()
        if time.monotonic() - self._looked_for_namesakes < _NAMESAKES_S:
            return
        self._looked_for_namesakes = time.monotonic()
        before, self._namesakes = self._namesakes, ""
        if count := graph.namesakes(self):
            name, others = (
                self.get_fully_qualified_name(),
                "nodes have" if count > 1 else "node has",
            )
            self._namesakes = (
                f"{count} other {others} the name {name} too, so that their parameters, services"
                " and topics mix; -r __node:=NAME or -r __ns:=/NAMESPACE gives each node its own"
            )
        if self._namesakes not in ("", before):
            self.get_logger().warning(self._namesakes)

    def _report(self) -> list[DiagnosticStatus]:
        """Statuses for /diagnostics; called from the heartbeat's thread."""
        phase, full = self._phase, self.get_fully_qualified_name()
        supervisor, settings, cameras = self._supervisor, self._settings, list(self._cameras)
        values = {"state": phase, "memory_mb": f"{resident_mb():.0f}"}
        level, message = DiagnosticStatus.OK, phase
        if self._failure:
            level, message = DiagnosticStatus.ERROR, f"configure failed: {self._failure}"
        elif phase == "unconfigured":
            level = DiagnosticStatus.WARN
            message = f"unconfigured; next: ros2 lifecycle set {full} configure"
        elif supervisor is not None:
            values |= diagnostics.backend_values(supervisor)
            verdict, text = diagnostics.supervisor_verdict(supervisor.status())
            if text:
                level, message = verdict, text
        warnings = [self._namesakes]
        if exception := self.exceptions.recent():
            warnings.append(f"an exception: {exception}")
        for text in filter(None, warnings):
            level, message = max(level, DiagnosticStatus.WARN), f"{message}; {text}"
        values |= {f"exception {kind}": str(n) for kind, n in self.exceptions.counts().items()}
        faults = {"shared_memory": self._transport_fault, "unknown_parameters": self._unknown}
        values |= {key: text for key, text in faults.items() if text}
        statuses = [diagnostics.status(f"{self.get_name()}: node", level, message, values, full)]
        if settings is not None:
            statuses += [self._camera_status(c, settings, phase) for c in cameras]
        return statuses

    def _camera_status(self, camera: Camera, settings: Settings, phase: str) -> DiagnosticStatus:
        snapshot = camera.statistics.snapshot()
        level, message = DiagnosticStatus.OK, phase
        if phase == "active":
            simulated = self.get_parameter("use_sim_time").value
            level, message = diagnostics.camera_verdict(
                snapshot,
                self._previous.get(camera.prefix),
                settings,
                has_clock=not simulated or self.get_clock().now().nanoseconds > 0,
                no_publisher=camera.no_publisher,
            )
        self._previous[camera.prefix] = snapshot
        values = diagnostics.camera_values(snapshot, camera.topic, camera.reliability)
        identity = f"{self.get_fully_qualified_name()} {camera.name}"
        return diagnostics.status(
            f"{self.get_name()}: {camera.name}", level, message, values, identity
        )


def unknown_parameters(names: Iterable[str]) -> str:
    """A warning about overrides that the node does not declare; empty if it declares all."""
    unknown = [
        name
        for name in names
        if name not in SPECS and name not in _OF_RCLPY and not name.startswith("qos_overrides.")
    ]
    if not unknown:
        return ""
    said = []
    for name in sorted(unknown):
        near = difflib.get_close_matches(name, SPECS, 1)
        said.append(f"'{name}'" + (f" (is '{near[0]}' meant?)" if near else ""))
    return f"the node has no parameter {', '.join(said)}: the value has no effect"


def add_range(descriptor: ParameterDescriptor, kind: Kind) -> None:
    """Say in a parameter's descriptor which numbers are allowed, so that tools show a slider."""
    if kind.low is None or kind.high is None:
        return
    if kind.whole:
        low, high = int(kind.low), int(kind.high)
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    else:
        low_value, high_value = float(kind.low), float(kind.high)
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=low_value, to_value=high_value, step=0.0)
        ]
