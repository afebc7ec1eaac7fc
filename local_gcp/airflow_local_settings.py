"""Import in Airflow's scheduler what every task of the DAG needs.

LocalExecutor forks its workers from the scheduler: what the scheduler has imported, no task imports again.
"""

import airflow.providers.google.cloud.hooks.gcs
import airflow.providers.google.cloud.operators.bigquery  # noqa: F401
import google.cloud.aiplatform_v1  # noqa: F401
