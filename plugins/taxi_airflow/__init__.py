"""The taxi pipeline in Airflow: its operators, its checks before a run, and the settings of each run."""
