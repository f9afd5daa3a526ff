"""The life cycle with engines of vendors, as far as this machine has them."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from structlog.testing import capture_logs

from appliance.inference.choose import MAKERS, Maker, Makers, open_engine, open_now
from appliance.inference.engine import InferenceError, Probe
from appliance.inference.process import hosted
from appliance.inference.settings import EngineSettings
from appliance.inference.sidecar import Sidecar
from appliance.inference.store import EngineStore
from appliance.inference.tensorrt import TensorRt
from models.catalogue import shipped
from models.golden import check
from models.package import open_package

BUILDERS = ("tensorrt_rtx", "tensorrt_rtx_bindings")
needs_builder = pytest.mark.skipif(
    not any(find_spec(name) for name in BUILDERS), reason="TensorRT-RTX is not installed"
)
needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")


class Hopeful(TensorRt):
    """Says once that there is a device, as one that falls off the bus does."""

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings, modules=BUILDERS)
        self._hoped = False

    def probe(self) -> Probe:
        if self._hoped:
            return super().probe()
        self._hoped = True
        return Probe(ok=True)


HOPEFUL: Makers = {
    **MAKERS,
    "tensorrt": Maker(reference=f"{__name__}:Hopeful", builds=True),
}


@needs_openvino
@pytest.mark.parametrize("apart", [False, True])
def test_openvino_serves_after_it_agreed_with_the_processor(package, settings, apart):
    makers = hosted(MAKERS) if apart else MAKERS
    with capture_logs() as logs:
        engine, stepped_down = open_engine(package, ["openvino", "cpu"], settings=settings, makers=makers)
    assert (engine.name, stepped_down) == ("openvino", None)
    words = [line["event"] for line in logs]
    assert words.index("engine.verified") < words.index("engine.active")
    assert check(package, lambda batch: engine.infer(batch, deadline_seconds=30)).ok
    engine.unload()


@needs_builder
def test_tensorrt_is_built_and_kept_and_refused_where_there_is_no_device(settings):
    package = open_package(next(path for path in shipped() if path.name == "ct-phantom-lesion"))
    # The processor's turn is left out: it would take most of the time, and other tests see the step down.
    with capture_logs() as logs, pytest.raises(InferenceError) as caught:
        open_engine(package, ["tensorrt"], settings=settings, makers=HOPEFUL)
    assert "tensorrt: TensorRT cannot run here:" in caught.value.sentence
    assert [line["event"] for line in logs if line["event"] == "engine.built"]
    assert settings.store is not None
    store = EngineStore(root=settings.store, limits=settings.limits)
    ((_, sidecar),) = store.entries()
    assert isinstance(sidecar, Sidecar)
    assert sidecar.verdict is None, "what was never loaded was never judged"
    assert sidecar.files["engine.plan"].size_bytes > 1000
    assert sidecar.details["version"]

    with capture_logs() as logs, pytest.raises(InferenceError, match="TensorRT cannot run here"):
        open_engine(package, ["tensorrt"], settings=settings, makers=HOPEFUL)
    assert not [line for line in logs if line["event"] == "engine.building"], "it is built once"


def test_an_engine_without_its_device_or_library_is_passed_over_at_once(package, settings):
    opened = open_now(package, ["tensorrt", "cuda", "cpu"], settings=settings)
    if opened.engine.name != "cpu":
        pytest.skip("there is a device here")
    assert opened.upgrade is None
    assert opened.stepped_down is not None
    assert "tensorrt: " in opened.stepped_down
    assert "cuda: " in opened.stepped_down
