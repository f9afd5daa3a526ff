"""TensorRT and TensorRT-RTX behind one adapter; both speak the same Python interface."""

from appliance.inference.tensorrt.engine import TensorRt

__all__ = ["TensorRt"]
