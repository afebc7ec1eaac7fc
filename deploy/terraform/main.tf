locals {
  name = "taxi-${var.environment}"
  labels = {
    app         = "taxi-vertex"
    environment = var.environment
  }
  # Folders of the bucket that runs fill. Models of serving/ stay as long as they may serve; modules/ is small,
  # and what is there is not uploaded again, however old it is.
  transient_folders = ["data/", "pipeline_root/"]
  # Vertex AI's cache does not look whether outputs still exist: a pipeline, which takes two days at most,
  # must find all that it takes from there.
  cache_days = var.retention_days - 3
  dataflow   = var.dataflow_workers > 0
}

data "google_project" "this" {
  project_id = var.project
  depends_on = [google_project_service.this]
}

resource "google_project_service" "this" {
  for_each = toset(concat([
    "aiplatform",
    "artifactregistry",
    "bigquery",
    "cloudresourcemanager",
    "composer",
    "compute",
    "iam",
    "iamcredentials",
    "logging",
    "monitoring",
    "storage",
    "sts",
  ], var.kms_key == null ? [] : ["cloudkms"], local.dataflow ? ["dataflow"] : []))

  service            = "${each.key}.googleapis.com"
  disable_on_destroy = false
}

resource "google_storage_bucket" "this" {
  name                        = "${var.project}-${local.name}"
  location                    = var.region
  labels                      = local.labels
  force_destroy               = !var.deletion_protection
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  soft_delete_policy {
    retention_duration_seconds = 7 * 24 * 3600
  }

  lifecycle_rule {
    condition {
      age            = var.retention_days
      matches_prefix = local.transient_folders
    }
    action {
      type = "Delete"
    }
  }

  lifecycle_rule {
    condition {
      age = 1
    }
    action {
      type = "AbortIncompleteMultipartUpload"
    }
  }

  dynamic "encryption" {
    for_each = var.kms_key[*]
    content {
      default_kms_key_name = encryption.value
    }
  }

  depends_on = [google_project_service.this, google_kms_crypto_key_iam_member.agents]
}

resource "google_bigquery_dataset" "this" {
  dataset_id                  = "taxi_${var.environment}"
  location                    = var.bigquery_location
  labels                      = local.labels
  default_table_expiration_ms = var.retention_days * 24 * 3600 * 1000
  delete_contents_on_destroy  = !var.deletion_protection

  dynamic "default_encryption_configuration" {
    for_each = var.kms_key[*]
    content {
      kms_key_name = default_encryption_configuration.value
    }
  }

  depends_on = [google_project_service.this, google_kms_crypto_key_iam_member.agents]
}

resource "google_artifact_registry_repository" "this" {
  repository_id = local.name
  location      = var.region
  format        = "DOCKER"
  description   = "The pipeline image: executors, compiler and model server"
  labels        = local.labels
  kms_key_name  = var.kms_key

  docker_config {
    immutable_tags = true # an image that serves is never replaced under its name
  }

  # A model keeps serving from the image that it was registered with: only what no tag names is deleted.
  cleanup_policies {
    id     = "untagged"
    action = "DELETE"
    condition {
      tag_state  = "UNTAGGED"
      older_than = "30d"
    }
  }

  depends_on = [google_project_service.this, google_kms_crypto_key_iam_member.agents]
}
