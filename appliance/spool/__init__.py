"""The spool: encoded bytes, verbatim, once, in files that any DICOM tool can read."""
