"""Ways to run a network on this machine, each a plugin: one module, with one line in `PROVIDERS`.

Comes in: an ONNX file that was inspected, and a `Plan`. Goes out: a `Network`, which takes a blob and gives an answer.
What a plugin's library needs is imported when it is asked for: a machine without it does without.
"""

from agent.vision.providers.network import Network, Plan, Precision, Provider, ProviderError, Size
from agent.vision.providers.onnx_runtime import OnnxRuntime
from agent.vision.providers.openvino import OpenVino
from agent.vision.providers.rknn import Rknn

__all__ = ["PROVIDERS", "Network", "Plan", "Precision", "Provider", "ProviderError", "Size", "provider_of"]

PROVIDERS: tuple[Provider, ...] = (
    OnnxRuntime("cpu", "CPUExecutionProvider"),
    OpenVino(),
    OnnxRuntime("cuda", "CUDAExecutionProvider"),
    OnnxRuntime("tensorrt", "TensorrtExecutionProvider", halved=("trt_fp16_enable", "True")),
    Rknn(),
)
"""The first is the default; it comes with the agent."""


def provider_of(name: str) -> Provider:
    """Find a provider that can run here; raises ProviderError."""
    provider = next((one for one in PROVIDERS if one.name == name), None)
    if provider is None:
        raise ProviderError(f"expected a provider of {', '.join(one.name for one in PROVIDERS)}, got {name!r}")
    if missing := provider.missing():
        raise ProviderError(f"provider {name}: {missing}")
    return provider
