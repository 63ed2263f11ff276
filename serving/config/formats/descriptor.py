"""What Vigil knows of a model format.

Configuration, repository, loader, converter and metadata go by it and know no format by name. It
points at code of higher layers by text (`module:function`), which is resolved when the first model
wants it: so `model.yaml` is checked with all that is known of its format, by processes that never
import what loads one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Library:
    """What computes a format and is installed by an extra.

    Attributes:
        module: what is imported.
        called: what people call it.
        extra: of the package `vigil`.
    """

    module: str
    called: str
    extra: str

    def missing(self, what: str) -> str:
        """Say that `what` lacks it, and how to install it."""
        return f"{what} needs {self.called}; install vigil[{self.extra}]"


@dataclass(frozen=True, slots=True)
class Conversion:
    """How `vigil convert` makes files of a format.

    Attributes:
        suffixes: of the files that it reads.
        write: `module:function`, which takes the file and where to write, writes, and returns what
            to tell the user, a list of sentences.
    """

    suffixes: tuple[str, ...]
    write: str


@dataclass(frozen=True, slots=True)
class Guide:
    """What docs/models.md says of a format; parts of sentences in Markdown.

    Attributes:
        holds: what the version's folder holds.
        code: whether it runs the model's own code.
        features: where guards find the penultimate activations.
        inputs, outputs: which of them its file tells; empty where it tells none.
    """

    holds: str
    code: str
    features: str
    inputs: str = ""
    outputs: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatDescriptor:
    """One format.

    Attributes:
        name: what `format` in `model.yaml` says.
        load: `module:function`, which takes an entry of the repository and a device and returns a
            model (`serving.models.formats.loader.Load`).
        guide: what people are told of it.
        platform, backend: what metadata and `model_configuration` call it.
        weights: the file in the version's folder by which a version is recognised; None where it
            is the factory's, or nothing.
        needs_factory: `factory` names a function that builds the model, which is code.
        holds_code: its file itself is code, so it needs `trust_code`.
        elsewhere: another server computes it, which the section `remote` names.
        signature: `module:function`, which reads inputs and outputs from the file's path
            (`serving.models.signature.Signature`); None where files do not tell them.
        has_gradients: it computes with a torch module, which is differentiable where all inputs are
            floating-point.
        compiles: torch can compile or capture its graph.
        converts_precision: `precision` can convert it at load.
        has_methods: an output is what a method of the model gives, which `method` names.
        rows_only: every input has rows.
        library: what computes it, where Vigil does not always install that.
        may_use_gpu: `module:function`, which says whether its own runtime could use a GPU, without
            saying which; None where torch computes it.
        before_fork: modules to import in a process that forks those that load models. They compute
            nothing, start no thread and touch no device when they are imported.
        conversion: how a pickle becomes a file of this format.
    """

    name: str
    load: str
    guide: Guide
    platform: str
    backend: str
    weights: str | None = None
    needs_factory: bool = False
    holds_code: bool = False
    elsewhere: bool = False
    signature: str | None = None
    has_gradients: bool = False
    compiles: bool = False
    converts_precision: bool = False
    has_methods: bool = False
    rows_only: bool = False
    library: Library | None = None
    may_use_gpu: str | None = None
    before_fork: tuple[str, ...] = ()
    conversion: Conversion | None = None
