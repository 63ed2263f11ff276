"""Configuration files as pydantic models: the single source of truth for what may stand in them."""

from serving.config.cloudevents import CloudEvents
from serving.config.compute import Batching, Compile, Precision, Replicas
from serving.config.files import SectionT, insists, load_model, load_server, load_yaml, parse
from serving.config.formats.descriptor import FormatDescriptor, Library
from serving.config.formats.listed import PICKLES, format_named
from serving.config.guards.listed import GUARDS, Guard, descriptor_of
from serving.config.guards.section import GuardSection
from serving.config.incidents import Incidents
from serving.config.log import Capture, Log, ModelLog, SensitiveLog
from serving.config.model import CLASS_OUTPUT, LABELLED_OUTPUTS, ModelConfig
from serving.config.monitoring import (
    DriftMonitor,
    Explain,
    Fairness,
    Monitors,
    PerformanceMonitor,
    Tolerance,
)
from serving.config.objectives import Slo
from serving.config.prices import Prices
from serving.config.remote import Remote, RemoteCredentials, RemoteTls
from serving.config.section import ConfigError
from serving.config.server import Listen, ServerConfig, Telemetry
from serving.config.signature import signature_difference
from serving.config.tensor_specs import (
    Datatype,
    Feature,
    InputSpec,
    OutputSpec,
    SklearnMethod,
    TensorFormat,
)
from serving.config.traces import Traces
from serving.config.webhooks import Webhook

__all__ = [
    "CLASS_OUTPUT",
    "GUARDS",
    "LABELLED_OUTPUTS",
    "PICKLES",
    "Batching",
    "Capture",
    "CloudEvents",
    "Compile",
    "ConfigError",
    "Datatype",
    "DriftMonitor",
    "Explain",
    "Fairness",
    "Feature",
    "FormatDescriptor",
    "Guard",
    "GuardSection",
    "Incidents",
    "InputSpec",
    "Library",
    "Listen",
    "Log",
    "ModelConfig",
    "ModelLog",
    "Monitors",
    "OutputSpec",
    "PerformanceMonitor",
    "Precision",
    "Prices",
    "Remote",
    "RemoteCredentials",
    "RemoteTls",
    "Replicas",
    "SectionT",
    "SensitiveLog",
    "ServerConfig",
    "SklearnMethod",
    "Slo",
    "Telemetry",
    "TensorFormat",
    "Tolerance",
    "Traces",
    "Webhook",
    "descriptor_of",
    "format_named",
    "insists",
    "load_model",
    "load_server",
    "load_yaml",
    "parse",
    "signature_difference",
]
