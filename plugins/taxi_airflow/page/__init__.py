"""The pages of a run and of the DAG in Airflow; only the API server imports what serves them."""
