"""The product's parts of Airflow: settings of a run, preflight and the operators of the taxi pipeline."""
