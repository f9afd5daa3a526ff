"""The coded names and UCUM units of the quantities the steps can measure."""

from models.findings import Code

VOLUME = Code(value="118565006", scheme="SCT", meaning="Volume")
ATTENUATION = Code(value="112031", scheme="DCM", meaning="Attenuation Coefficient")
MR_SIGNAL_INTENSITY = Code(value="110852", scheme="DCM", meaning="MR signal intensity")
AREA = Code(value="42798000", scheme="SCT", meaning="Area")
WIDTH = Code(value="103355008", scheme="SCT", meaning="Width")
HEIGHT = Code(value="121207", scheme="DCM", meaning="Height")
LONG_AXIS = Code(value="103339001", scheme="SCT", meaning="Long Axis")
PROBABILITY = Code(value="122157", scheme="DCM", meaning="Probability")

MEAN = Code(value="373098007", scheme="SCT", meaning="Mean")
STANDARD_DEVIATION = Code(value="386136009", scheme="SCT", meaning="Standard Deviation")

MILLILITRE = Code(value="mL", scheme="UCUM", meaning="milliliter")
HOUNSFIELD_UNIT = Code(value="[hnsf'U]", scheme="UCUM", meaning="Hounsfield unit")
SQUARE_MILLIMETRE = Code(value="mm2", scheme="UCUM", meaning="square millimeter")
MILLIMETRE = Code(value="mm", scheme="UCUM", meaning="mm")
NO_UNITS = Code(value="1", scheme="UCUM", meaning="no units")
