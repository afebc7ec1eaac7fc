resource "google_monitoring_notification_channel" "email" {
  for_each = var.alert_emails

  display_name = each.value
  type         = "email"
  labels       = { email_address = each.value }
  depends_on   = [google_project_service.this]
}

# Airflow's scheduler says so once for each failed run. The alert reads the log itself: on a metric made of it, which
# Cloud Monitoring knows up to 10 minutes later, the first apply would fail.
resource "google_monitoring_alert_policy" "failed_runs" {
  display_name          = "${local.name}: a run failed"
  combiner              = "OR"
  notification_channels = local.notification_channels
  user_labels           = local.labels

  conditions {
    display_name = "a run failed"
    condition_matched_log {
      filter = join(" AND ", [
        "resource.type=\"cloud_composer_environment\"",
        "resource.labels.environment_name=\"${google_composer_environment.this.name}\"",
        "log_id(\"airflow-scheduler\")",
        "textPayload=~\"Marking run .*taxi_training.* failed\"",
      ])
    }
  }

  alert_strategy {
    auto_close = "1800s"
    notification_rate_limit {
      period = "300s"
    }
  }

  documentation {
    subject   = "${local.name}: a run failed"
    content   = local.what_to_do
    mime_type = "text/markdown"
  }
}

locals {
  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.id]
  what_to_do            = "What to do: docs/composer.md, \"When an alert fires\"."
  environment_filter = join(" AND ", [
    "resource.type = \"cloud_composer_environment\"",
    "resource.labels.environment_name = \"${google_composer_environment.this.name}\"",
  ])
  # What each of the other alerts watches, and since when it must be so.
  alerts = {
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
  notification_channels = local.notification_channels
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
    content   = local.what_to_do
    mime_type = "text/markdown"
  }
}
