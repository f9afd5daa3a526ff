"""Which SOP classes a sender may store here (PS3.4 B.5, PS3.6 A).

All that pynetdicom knows as Storage, the retired ones still sent by old modalities, and the vendors' private
ones below.
Non-patient objects (hanging protocols, palettes, implant templates) are absent: they belong to no study.

pynetdicom's `UNRESTRICTED_STORAGE_SERVICE` is not used.
It would also accept unknown classes, but in whatever transfer syntax stands first in the proposal, Deflated
among them, and it treats every unknown abstract syntax as storage, private queries too.
A class missing here is one line in the table.
"""

from __future__ import annotations

from typing import Final

from pydicom.uid import UID
from pynetdicom import AllStoragePresentationContexts
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    _STORAGE_CLASSES,
    Verification,
)

_RETIRED: Final = {
    "RetiredHardcopyGrayscaleImageStorage": "1.2.840.10008.5.1.1.29",
    "RetiredHardcopyColorImageStorage": "1.2.840.10008.5.1.1.30",
    "RetiredUltrasoundMultiFrameImageStorage": "1.2.840.10008.5.1.4.1.1.3",
    "RetiredNuclearMedicineImageStorage": "1.2.840.10008.5.1.4.1.1.5",
    "RetiredUltrasoundImageStorage": "1.2.840.10008.5.1.4.1.1.6",
    "RetiredStandaloneOverlayStorage": "1.2.840.10008.5.1.4.1.1.8",
    "RetiredStandaloneCurveStorage": "1.2.840.10008.5.1.4.1.1.9",
    "RetiredWaveformStorageTrial": "1.2.840.10008.5.1.4.1.1.9.1",
    "RetiredStandaloneModalityLUTStorage": "1.2.840.10008.5.1.4.1.1.10",
    "RetiredStandaloneVOILUTStorage": "1.2.840.10008.5.1.4.1.1.11",
    "RetiredXRayAngiographicBiPlaneImageStorage": "1.2.840.10008.5.1.4.1.1.12.3",
    "RetiredVLImageStorageTrial": "1.2.840.10008.5.1.4.1.1.77.1",
    "RetiredVLMultiFrameImageStorageTrial": "1.2.840.10008.5.1.4.1.1.77.2",
    "RetiredTextSRStorageTrial": "1.2.840.10008.5.1.4.1.1.88.1",
    "RetiredAudioSRStorageTrial": "1.2.840.10008.5.1.4.1.1.88.2",
    "RetiredDetailSRStorageTrial": "1.2.840.10008.5.1.4.1.1.88.3",
    "RetiredComprehensiveSRStorageTrial": "1.2.840.10008.5.1.4.1.1.88.4",
    "RetiredStandalonePETCurveStorage": "1.2.840.10008.5.1.4.1.1.129",
}

# Vendors' objects that travel inside ordinary studies; refused, some modalities drop the whole study.
_PRIVATE: Final = {
    "PrivateSiemensCSANonImageStorage": "1.3.12.2.1107.5.9.1",
    "PrivateSiemensCTMRVolumeStorage": "1.3.12.2.1107.5.99.3.10",
    "PrivateSiemensAXFrameSetsStorage": "1.3.12.2.1107.5.99.3.11",
    "PrivateGEMRImageStorage": "1.2.840.113619.4.2",
    "PrivateGECTImageStorage": "1.2.840.113619.4.3",
    "PrivateGEDisplayImageStorage": "1.2.840.113619.4.4",
    "PrivateGE3DModelStorage": "1.2.840.113619.4.26",
    "PrivateGENonDICOMRawDataStorage": "1.2.840.113619.4.27",
    "PrivateGERawDataStorage": "1.2.840.113619.4.30",
    "PrivatePhilipsCXImageStorage": "1.3.46.670589.2.4.1.1",
    "PrivatePhilips3DVolumeStorage": "1.3.46.670589.5.0.1",
    "PrivatePhilips3DVolumeStorage2": "1.3.46.670589.5.0.1.1",
    "PrivatePhilips3DObjectStorage": "1.3.46.670589.5.0.2",
    "PrivatePhilips3DObjectStorage2": "1.3.46.670589.5.0.2.1",
    "PrivatePhilipsSurfaceStorage": "1.3.46.670589.5.0.3",
    "PrivatePhilipsSurfaceStorage2": "1.3.46.670589.5.0.3.1",
    "PrivatePhilipsCompositeObjectStorage": "1.3.46.670589.5.0.4",
    "PrivatePhilipsMRCardioProfileStorage": "1.3.46.670589.5.0.7",
    "PrivatePhilipsMRCardioStorage": "1.3.46.670589.5.0.8",
    "PrivatePhilipsCTSyntheticImageStorage": "1.3.46.670589.5.0.9",
    "PrivatePhilipsMRSyntheticImageStorage": "1.3.46.670589.5.0.10",
    "PrivatePhilipsMRCardioAnalysisStorage": "1.3.46.670589.5.0.11",
    "PrivatePhilipsMRSpectrumStorage": "1.3.46.670589.11.0.0.12.1",
    "PrivatePhilipsMRSeriesDataStorage": "1.3.46.670589.11.0.0.12.2",
    "PrivatePhilipsMRColorImageStorage": "1.3.46.670589.11.0.0.12.3",
    "PrivatePhilipsMRExamcardStorage": "1.3.46.670589.11.0.0.12.4",
    "PrivateToshibaUSStorage": "1.2.392.200036.9116.7.8.1.1.1",
}

BEYOND_THE_LIBRARY: Final = _RETIRED | _PRIVATE
VERIFICATION: Final = str(Verification)
_KEYWORDS: Final = {uid: name for name, uid in (*_STORAGE_CLASSES.items(), *BEYOND_THE_LIBRARY.items())}
STORAGE_CLASSES: Final = frozenset(
    (
        *(str(context.abstract_syntax) for context in AllStoragePresentationContexts),
        *BEYOND_THE_LIBRARY.values(),
    )
)


def name_of(uid: str) -> str:
    """Return the name of a SOP class or a transfer syntax as PS3.6 has it, or the keyword it has here."""
    known = UID(uid).name
    return _KEYWORDS.get(uid, known) if known == uid else known
