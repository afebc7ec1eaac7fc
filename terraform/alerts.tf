resource "google_monitoring_notification_channel" "email" {
  for_each = var.alert_emails

  display_name = each.value
  type         = "email"
  labels       = { email_address = each.value }
  depends_on   = [google_project_service.this]
}

# Airflow's scheduler says so once for each failed run.
resource "google_logging_metric" "failed_runs" {
  name        = "${local.name}-failed-runs"
  description = "Runs of taxi_training that failed"
  filter = join(" AND ", [
    "resource.type=\"cloud_composer_environment\"",
    "resource.labels.environment_name=\"${google_composer_environment.this.name}\"",
    "log_id(\"airflow-scheduler\")",
    "textPayload=~\"Marking run .*taxi_training.* failed\"",
  ])

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"
  }
}

locals {
  environment_filter = join(" AND ", [
    "resource.type = \"cloud_composer_environment\"",
    "resource.labels.environment_name = \"${google_composer_environment.this.name}\"",
  ])
  # What each alert watches, and since when it must be so; docs/composer.md says what to do.
  alerts = {
    "a run failed" = {
      filter    = "metric.type = \"logging.googleapis.com/user/${google_logging_metric.failed_runs.name}\" AND ${local.environment_filter}"
      aligner   = "ALIGN_SUM"
      threshold = 0
      below     = false
      duration  = "0s"
    }
    "the DAG does not parse" = {
      filter    = "metric.type = \"composer.googleapis.com/environment/dag_processing/parse_error_count\" AND ${local.environment_filter}"
      aligner   = "ALIGN_SUM"
      threshold = 0
      below     = false
      duration  = "600s"
    }
    "Composer is unhealthy" = {
      filter    = "metric.type = \"composer.googleapis.com/environment/healthy\" AND ${local.environment_filter}"
      aligner   = "ALIGN_FRACTION_TRUE"
      threshold = 0.5
      below     = true
      duration  = "900s"
    }
    "the endpoint answers with errors" = {
      filter    = "metric.type = \"aiplatform.googleapis.com/prediction/online/error_count\" AND resource.type = \"aiplatform.googleapis.com/Endpoint\""
      aligner   = "ALIGN_SUM"
      threshold = 10
      below     = false
      duration  = "300s"
    }
  }
}

resource "google_monitoring_alert_policy" "this" {
  for_each = local.alerts

  display_name          = "${local.name}: ${each.key}"
  combiner              = "OR"
  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.id]
  user_labels           = local.labels

  conditions {
    display_name = each.key
    condition_threshold {
      filter          = each.value.filter
      comparison      = each.value.below ? "COMPARISON_LT" : "COMPARISON_GT"
      threshold_value = each.value.threshold
      duration        = each.value.duration

      aggregations {
        alignment_period   = "300s"
        per_series_aligner = each.value.aligner
      }
    }
  }

  documentation {
    subject   = "${local.name}: ${each.key}"
    content   = "What to do: docs/composer.md, \"When an alert fires\"."
    mime_type = "text/markdown"
  }
}
