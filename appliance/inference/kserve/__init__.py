"""Run a model on a server of the Open Inference Protocol (KServe v2), for a site that outgrows the box."""

from appliance.inference.kserve.remote import KServe

__all__ = ["KServe"]
