"""The box: everything between the wire (`dicom_node`) and the people who look after it."""
