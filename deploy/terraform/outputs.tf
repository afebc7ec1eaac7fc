# `make deploy` reads these from deploy/composer/env/<environment>.env, which `terraform output -raw deploy_env` prints.
output "deploy_env" {
  description = "What deploy/composer/env/<environment>.env must hold."
  value       = <<-EOT
    PROJECT=${var.project}
    REGION=${var.region}
    COMPOSER_ENVIRONMENT=${google_composer_environment.this.name}
    ARTIFACT_REPOSITORY=${google_artifact_registry_repository.this.repository_id}
    TAXI_PROJECT=${var.project}
    TAXI_REGION=${var.region}
    TAXI_BUCKET=gs://${google_storage_bucket.this.name}
    TAXI_BIGQUERY_LOCATION=${var.bigquery_location}
    TAXI_DATASET=${google_bigquery_dataset.this.dataset_id}
    TAXI_CACHE_DAYS=${local.cache_days}
    TAXI_DATAFLOW_WORKERS=${var.dataflow_workers}
    TAXI_SERVICE_ACCOUNT=${google_service_account.pipeline.email}
  EOT
}

output "airflow_uri" {
  description = "Airflow's pages."
  value       = google_composer_environment.this.config[0].airflow_uri
}

output "workload_identity_provider" {
  description = "What the CI workflow authenticates with; null without deployer_repository_id."
  value       = one(google_iam_workload_identity_pool_provider.ci[*].name)
}

output "deployer" {
  description = "The account that deploys."
  value       = google_service_account.deployer.email
}
