"""The pipeline's last component, which puts the results of a run into report.json."""
