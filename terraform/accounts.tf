# Who may do what; docs/composer.md says why each role is needed.

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
    pipeline = ["aiplatform.user", "logging.logWriter"]
    deployer = ["composer.environmentAndStorageObjectAdmin"]
  }
  bucket_roles = {
    composer = ["storage.objectUser", "storage.legacyBucketReader"]
    pipeline = ["storage.objectUser", "storage.legacyBucketReader"]
  }
  repository_roles = {
    composer = "artifactregistry.reader"
    pipeline = "artifactregistry.reader"
    deployer = "artifactregistry.writer"
  }
  # Who may start something that runs as whom.
  impersonations = {
    composer = "pipeline"
    deployer = "composer"
  }
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

# The workflow of one repository deploys as the deployer, without any key.
resource "google_iam_workload_identity_pool" "ci" {
  count = var.deployer_repository == null ? 0 : 1

  workload_identity_pool_id = "${local.name}-ci"
  depends_on                = [google_project_service.this]
}

resource "google_iam_workload_identity_pool_provider" "ci" {
  count = var.deployer_repository == null ? 0 : 1

  workload_identity_pool_id          = google_iam_workload_identity_pool.ci[0].workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  attribute_condition = join(" && ", [
    "assertion.repository == '${var.deployer_repository}'",
    "assertion.environment == '${var.environment}'",
  ])
  attribute_mapping = {
    "google.subject"       = "assertion.sub"
    "attribute.repository" = "assertion.repository"
  }

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account_iam_member" "ci" {
  count = var.deployer_repository == null ? 0 : 1

  service_account_id = google_service_account.deployer.name
  role               = "roles/iam.workloadIdentityUser"
  member = join("/", [
    "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.ci[0].name}",
    "attribute.repository",
    var.deployer_repository,
  ])
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
