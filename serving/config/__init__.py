"""Configuration files as pydantic models: the single source of truth for what may stand in them."""

from serving.config.compute import Batching, Compile, Precision, Replicas
from serving.config.files import SectionT, insists, load_model, load_server, load_yaml, parse
from serving.config.formats.descriptor import FormatDescriptor, Library
from serving.config.formats.listed import PICKLES, format_named
from serving.config.model import CLASS_OUTPUT, ModelConfig
from serving.config.monitoring import (
    Action,
    DriftMonitor,
    Explain,
    Fairness,
    Guard,
    MahalanobisGuard,
    Monitors,
    PerformanceMonitor,
    SchemaGuard,
    Tolerance,
)
from serving.config.remote import Remote, RemoteCredentials, RemoteTls
from serving.config.section import ConfigError
from serving.config.server import Listen, ServerConfig, Telemetry
from serving.config.signature import signature_difference
from serving.config.tensors import (
    Datatype,
    Feature,
    InputSpec,
    OutputSpec,
    SklearnMethod,
    TensorFormat,
)

__all__ = [
    "CLASS_OUTPUT",
    "PICKLES",
    "Action",
    "Batching",
    "Compile",
    "ConfigError",
    "Datatype",
    "DriftMonitor",
    "Explain",
    "Fairness",
    "Feature",
    "FormatDescriptor",
    "Guard",
    "InputSpec",
    "Library",
    "Listen",
    "MahalanobisGuard",
    "ModelConfig",
    "Monitors",
    "OutputSpec",
    "PerformanceMonitor",
    "Precision",
    "Remote",
    "RemoteCredentials",
    "RemoteTls",
    "Replicas",
    "SchemaGuard",
    "SectionT",
    "ServerConfig",
    "SklearnMethod",
    "Telemetry",
    "TensorFormat",
    "Tolerance",
    "format_named",
    "insists",
    "load_model",
    "load_server",
    "load_yaml",
    "parse",
    "signature_difference",
]
