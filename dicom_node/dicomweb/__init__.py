"""DICOMweb: STOW-RS in both directions (PS3.18 10.5), over HTTP/1.1, guarded as the gate is."""
