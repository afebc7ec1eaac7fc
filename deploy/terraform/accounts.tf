# Accounts and their roles; docs/composer.md says why each role is needed.

resource "google_service_account" "composer" {
  account_id   = "${local.name}-composer"
  display_name = "Airflow of ${local.name}"
  depends_on   = [google_project_service.this]
}

resource "google_service_account" "pipeline" {
  account_id   = "${local.name}-pipeline"
  display_name = "Vertex AI jobs and models of ${local.name}"
  depends_on   = [google_project_service.this]
}

resource "google_service_account" "deployer" {
  account_id   = "${local.name}-deployer"
  display_name = "Deployment of ${local.name}"
  depends_on   = [google_project_service.this]
}

locals {
  accounts = {
    composer = google_service_account.composer
    pipeline = google_service_account.pipeline
    deployer = google_service_account.deployer
  }
  project_roles = {
    composer = ["composer.worker", "aiplatform.user", "bigquery.user"]
    # On Dataflow, the account starts the jobs and is that of their workers.
    pipeline = concat(["logging.logWriter"], local.dataflow ? ["dataflow.developer", "dataflow.worker"] : [])
    deployer = ["composer.environmentAndStorageObjectAdmin"]
  }
  bucket_roles = {
    composer = ["storage.objectUser", "storage.legacyBucketReader"]
    pipeline = ["storage.objectViewer", "storage.legacyBucketReader"]
  }
  # Dataflow's workers pull their image themselves.
  repository_roles = merge({
    composer = "artifactregistry.reader"
    deployer = "artifactregistry.writer"
  }, local.dataflow ? { pipeline = "artifactregistry.reader" } : {})
  # Who may start something that runs as whom.
  impersonations = merge({
    composer = "pipeline"
    deployer = "composer"
  }, local.dataflow ? { pipeline = "pipeline" } : {})
}

resource "google_project_iam_member" "this" {
  for_each = merge([
    for account, roles in local.project_roles : { for role in roles : "${account}/${role}" => [account, role] }
  ]...)

  project = var.project
  role    = "roles/${each.value[1]}"
  member  = local.accounts[each.value[0]].member
}

resource "google_storage_bucket_iam_member" "this" {
  for_each = merge([
    for account, roles in local.bucket_roles : { for role in roles : "${account}/${role}" => [account, role] }
  ]...)

  bucket = google_storage_bucket.this.name
  role   = "roles/${each.value[1]}"
  member = local.accounts[each.value[0]].member
}

# Vertex AI Pipelines keeps a run's lineage as the run's account. No `customJobs.create`: a job that names no account
# runs as Google's custom code agent, which may do far more. No delete: lineage and cache entries stay.
resource "google_project_iam_custom_role" "lineage" {
  role_id     = "${replace(local.name, "-", "_")}_lineage"
  title       = "Lineage of ${local.name}"
  description = "Keep Vertex ML Metadata; neither jobs nor models nor endpoints"
  permissions = [
    "aiplatform.artifacts.create",
    "aiplatform.artifacts.get",
    "aiplatform.artifacts.list",
    "aiplatform.artifacts.update",
    "aiplatform.contexts.addContextArtifactsAndExecutions",
    "aiplatform.contexts.addContextChildren",
    "aiplatform.contexts.create",
    "aiplatform.contexts.get",
    "aiplatform.contexts.list",
    "aiplatform.contexts.queryContextLineageSubgraph",
    "aiplatform.contexts.update",
    "aiplatform.executions.addExecutionEvents",
    "aiplatform.executions.create",
    "aiplatform.executions.get",
    "aiplatform.executions.list",
    "aiplatform.executions.queryExecutionInputsAndOutputs",
    "aiplatform.executions.update",
    "aiplatform.metadataSchemas.create",
    "aiplatform.metadataSchemas.get",
    "aiplatform.metadataSchemas.list",
    "aiplatform.metadataStores.create",
    "aiplatform.metadataStores.get",
    "aiplatform.metadataStores.list",
    "resourcemanager.projects.get",
  ]
  depends_on = [google_project_service.this]
}

resource "google_project_iam_member" "lineage" {
  project = var.project
  role    = google_project_iam_custom_role.lineage.id
  member  = google_service_account.pipeline.member
}

locals {
  bucket  = "projects/_/buckets/${google_storage_bucket.this.name}"
  objects = "${local.bucket}/objects"
  # Where jobs write: artifacts and models, Beam's files on Dataflow, and what the compiler makes of modules.
  written_by_pipelines = concat(
    # Vertex AI asks for the bucket itself before it accepts a pipeline job.
    ["resource.name == \"${local.bucket}\""],
    [for folder in ["pipeline_root", "serving", "dataflow"] : "resource.name.startsWith(\"${local.objects}/${folder}/\")"],
    [for folder in ["compiled", "wheels"] : join(" && ", [
      "resource.name.startsWith(\"${local.objects}/modules/\")",
      "resource.name.extract(\"/objects/modules/{digest}/${folder}/\") != \"\"",
    ])],
  )
}

# Runs, with the decisions in them, and the trips are Airflow's: a job can neither replace nor forge them.
resource "google_storage_bucket_iam_member" "pipeline_writes" {
  bucket = google_storage_bucket.this.name
  role   = "roles/storage.objectUser"
  member = google_service_account.pipeline.member

  condition {
    title      = "what pipelines write"
    expression = join(" || ", local.written_by_pipelines)
  }
}

resource "google_bigquery_dataset_iam_member" "composer" {
  dataset_id = google_bigquery_dataset.this.dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = google_service_account.composer.member
}

resource "google_artifact_registry_repository_iam_member" "this" {
  for_each = local.repository_roles

  location   = google_artifact_registry_repository.this.location
  repository = google_artifact_registry_repository.this.name
  role       = "roles/${each.value}"
  member     = local.accounts[each.key].member
}

resource "google_service_account_iam_member" "this" {
  for_each = local.impersonations

  service_account_id = local.accounts[each.value].name
  role               = "roles/iam.serviceAccountUser"
  member             = local.accounts[each.key].member
}

# Vertex AI's own account pulls the images of jobs and models, whatever account these run as. Google makes it and gives
# it its role at the first use, and refuses jobs meanwhile.
resource "google_project_service_identity" "vertex" {
  provider = google-beta

  project    = var.project
  service    = "aiplatform.googleapis.com"
  depends_on = [google_project_service.this]
}

resource "google_project_iam_member" "vertex_agent" {
  project = var.project
  role    = "roles/aiplatform.serviceAgent"
  member  = google_project_service_identity.vertex.member
}

resource "google_artifact_registry_repository_iam_member" "vertex_agent" {
  location   = google_artifact_registry_repository.this.location
  repository = google_artifact_registry_repository.this.name
  role       = "roles/artifactregistry.reader"
  member     = google_project_service_identity.vertex.member
}

# Google's own accounts encrypt with the given key.
locals {
  agents = var.kms_key == null ? {} : {
    storage          = "service-${data.google_project.this.number}@gs-project-accounts.iam.gserviceaccount.com"
    bigquery         = "bq-${data.google_project.this.number}@bigquery-encryption.iam.gserviceaccount.com"
    artifactregistry = "service-${data.google_project.this.number}@gcp-sa-artifactregistry.iam.gserviceaccount.com"
    composer         = "service-${data.google_project.this.number}@cloudcomposer-accounts.iam.gserviceaccount.com"
    pubsub           = "service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
    compute          = "service-${data.google_project.this.number}@compute-system.iam.gserviceaccount.com"
    gke              = "service-${data.google_project.this.number}@container-engine-robot.iam.gserviceaccount.com"
  }
}

resource "google_kms_crypto_key_iam_member" "agents" {
  for_each = local.agents

  crypto_key_id = var.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:${each.value}"
}
