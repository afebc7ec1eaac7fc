resource "google_compute_network" "this" {
  count = var.private_network ? 1 : 0

  name                    = local.name
  auto_create_subnetworks = false
  depends_on              = [google_project_service.this]
}

resource "google_compute_subnetwork" "this" {
  count = var.private_network ? 1 : 0

  name                     = local.name
  network                  = google_compute_network.this[0].id
  region                   = var.region
  ip_cidr_range            = "10.20.0.0/24"
  private_ip_google_access = true # Google's APIs without a public address
}

locals {
  resilient = var.resilience_mode == "HIGH_RESILIENCE"
  # A resilient environment survives the loss of a zone: Composer refuses it without two of everything.
  counts = {
    schedulers     = local.resilient ? 2 : 1
    dag_processors = local.resilient ? 2 : 1
    triggerers     = local.resilient ? 2 : 1
    workers        = local.resilient ? 2 : 1
  }
}

resource "google_composer_environment" "this" {
  name   = local.name
  region = var.region
  labels = local.labels

  config {
    environment_size           = var.environment_size
    resilience_mode            = var.resilience_mode
    enable_private_environment = var.private_network

    node_config {
      service_account = google_service_account.composer.email
      network         = one(google_compute_network.this[*].id)
      subnetwork      = one(google_compute_subnetwork.this[*].id)
    }

    software_config {
      image_version = var.airflow_image
      airflow_config_overrides = {
        "core-dags_are_paused_at_creation" = "True"
      }
    }

    workloads_config {
      scheduler {
        count      = local.counts.schedulers
        cpu        = 0.5
        memory_gb  = 2
        storage_gb = 1
      }
      dag_processor {
        count      = local.counts.dag_processors
        cpu        = 1
        memory_gb  = 4
        storage_gb = 1
      }
      triggerer {
        count     = local.counts.triggerers
        cpu       = 0.5
        memory_gb = 1
      }
      web_server {
        cpu        = 1
        memory_gb  = 2
        storage_gb = 1
      }
      worker {
        min_count  = local.counts.workers
        max_count  = 3
        cpu        = 1
        memory_gb  = 4
        storage_gb = 2
      }
    }

    dynamic "encryption_config" {
      for_each = var.kms_key[*]
      content {
        kms_key_name = encryption_config.value
      }
    }
  }

  lifecycle {
    # https://docs.cloud.google.com/composer/docs/composer-3/set-up-highly-resilient-environments
    precondition {
      condition = !local.resilient || alltrue([
        local.counts.schedulers == 2,
        local.counts.dag_processors >= 2,
        local.counts.triggerers == 0 || local.counts.triggerers >= 2 && local.counts.triggerers <= 10,
        local.counts.workers >= 2,
      ])
      error_message = join(" ", [
        "HIGH_RESILIENCE needs exactly 2 schedulers, 2 or more DAG processors, 0 or 2 to 10 triggerers and 2 or",
        "more workers; local.counts is ${jsonencode(local.counts)}.",
      ])
    }

    # `make deploy` sets both; Composer upgrades are made on purpose, see docs/composer.md.
    ignore_changes = [
      config[0].software_config[0].env_variables,
      config[0].software_config[0].pypi_packages,
    ]
  }

  depends_on = [
    google_project_iam_member.this,
    google_service_account_iam_member.this,
    google_kms_crypto_key_iam_member.agents,
    # The first run may start as soon as Airflow is up.
    google_project_iam_member.vertex_agent,
    google_artifact_registry_repository_iam_member.vertex_agent,
    google_storage_bucket_iam_member.this,
    google_storage_bucket_iam_member.pipeline_writes,
  ]
}
