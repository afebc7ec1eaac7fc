"""The fare model: its data, pipeline, gate and serving, none of which knows Airflow."""
