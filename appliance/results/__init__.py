"""Results: findings and notices become encoded DICOM objects."""
