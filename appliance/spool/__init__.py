"""The spool: encoded bytes, verbatim, once; each image a DICOM file, many of them in a segment (ADR 11)."""
