"""The field's reference metrics, and calibration."""
