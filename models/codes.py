"""The coded names and UCUM units of the quantities the steps can measure."""

from models.findings import Code

VOLUME = Code(value="118565006", scheme="SCT", meaning="Volume")
ATTENUATION = Code(value="112031", scheme="DCM", meaning="Attenuation Coefficient")
LONG_AXIS = Code(value="103339001", scheme="SCT", meaning="Long Axis")
PROBABILITY = Code(value="122157", scheme="DCM", meaning="Probability")

MEAN = Code(value="373098007", scheme="SCT", meaning="Mean")
STANDARD_DEVIATION = Code(value="386136009", scheme="SCT", meaning="Standard Deviation")

MILLILITRE = Code(value="mL", scheme="UCUM", meaning="milliliter")
HOUNSFIELD_UNIT = Code(value="[hnsf'U]", scheme="UCUM", meaning="Hounsfield unit")
MILLIMETRE = Code(value="mm", scheme="UCUM", meaning="mm")
NO_UNITS = Code(value="1", scheme="UCUM", meaning="no units")
