"""Import the modules that every task needs in Airflow's scheduler.

LocalExecutor forks its workers from the scheduler, so tasks do not import them again.
"""

import airflow.providers.google.cloud.hooks.gcs
import airflow.providers.google.cloud.operators.bigquery  # noqa: F401
import google.cloud.aiplatform_v1  # noqa: F401
