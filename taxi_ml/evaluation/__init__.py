"""The pipeline's last component, which writes the results of a run to report.json."""
