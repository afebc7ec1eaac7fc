variable "project" {
  description = "Id of an existing project with billing."
  type        = string
}

variable "environment" {
  description = "Name of this installation: it ends the names of everything that is made."
  type        = string

  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "Give dev, staging or prod."
  }
}

variable "region" {
  description = "Where Composer and Vertex AI run and the bucket lies."
  type        = string
  default     = "us-central1"
}

variable "bigquery_location" {
  description = "Where statements run: that of the trips' table. BigQuery's public datasets are in US."
  type        = string
  default     = "US"
}

variable "airflow_image" {
  description = "Composer 3 build; the newest are listed by `gcloud composer images list`."
  type        = string
  default     = "composer-3-airflow-3.3.1-build.0"
}

variable "environment_size" {
  description = "Composer's size, which decides its price."
  type        = string
  default     = "ENVIRONMENT_SIZE_SMALL"

  validation {
    condition     = can(regex("^ENVIRONMENT_SIZE_(SMALL|MEDIUM|LARGE)$", var.environment_size))
    error_message = "Give ENVIRONMENT_SIZE_SMALL, ENVIRONMENT_SIZE_MEDIUM or ENVIRONMENT_SIZE_LARGE."
  }
}

variable "resilience_mode" {
  description = "HIGH_RESILIENCE runs Composer in two zones, at a higher price."
  type        = string
  default     = "STANDARD_RESILIENCE"

  validation {
    condition     = contains(["STANDARD_RESILIENCE", "HIGH_RESILIENCE"], var.resilience_mode)
    error_message = "Give STANDARD_RESILIENCE or HIGH_RESILIENCE."
  }
}

variable "retention_days" {
  description = "How long runs keep exported trips, pipeline artifacts and their window's table. Models stay."
  type        = number
  default     = 180

  validation {
    condition     = var.retention_days >= 40
    error_message = "Give 40 days or more: a monthly run and its cache must outlive the next one."
  }
}

variable "alert_emails" {
  description = "Who is told when a run fails."
  type        = set(string)

  validation {
    condition     = length(var.alert_emails) > 0
    error_message = "Give at least one address: an alert that nobody gets is none."
  }
}

variable "deletion_protection" {
  description = "Whether bucket and dataset refuse to be destroyed while they hold anything."
  type        = bool
  default     = true
}

variable "private_network" {
  description = "Run Composer without public addresses in a network of its own."
  type        = bool
  default     = false
}

variable "dataflow_workers" {
  description = "Set up Dataflow for windows that outgrow a machine, with so many workers a job at most; 0: not at all."
  type        = number
  default     = 0

  validation {
    condition     = var.dataflow_workers >= 0 && var.dataflow_workers <= 4000 && floor(var.dataflow_workers) == var.dataflow_workers
    error_message = "Give a whole number from 0 to 4000."
  }
}

variable "kms_key" {
  description = "Cloud KMS key in `region` for bucket, images, dataset and Composer; null: Google's keys."
  type        = string
  default     = null
}

variable "deployer_repository_id" {
  description = "Id of the GitHub repository whose workflow may deploy (`gh api repos/<owner>/<name> --jq .id`); null: people only."
  type        = string
  default     = null

  validation {
    condition     = can(regex("^[1-9][0-9]*$", coalesce(var.deployer_repository_id, "1")))
    error_message = "Give the repository's number, not its name: a name can change hands."
  }
}

variable "deployer_branch" {
  description = "Branch whose workflow may deploy."
  type        = string
  default     = "main"

  validation {
    condition     = can(regex("^[A-Za-z0-9._/-]+$", var.deployer_branch))
    error_message = "Give a branch's name, such as main, without refs/heads/ and without quotes."
  }
}
