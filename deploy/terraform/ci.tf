# One repository's workflow deploys as the deployer, without any key: from one branch, in the GitHub environment of this
# installation's name. A repository's name can be taken by somebody else once it is free; its id never is.
resource "google_iam_workload_identity_pool" "ci" {
  count = var.deployer_repository_id == null ? 0 : 1

  workload_identity_pool_id = "${local.name}-ci"
  depends_on                = [google_project_service.this]
}

resource "google_iam_workload_identity_pool_provider" "ci" {
  count = var.deployer_repository_id == null ? 0 : 1

  workload_identity_pool_id          = google_iam_workload_identity_pool.ci[0].workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  attribute_condition = join(" && ", [
    "assertion.repository_id == '${var.deployer_repository_id}'",
    "assertion.ref == 'refs/heads/${var.deployer_branch}'",
    "assertion.environment == '${var.environment}'",
  ])
  attribute_mapping = {
    "google.subject"          = "assertion.sub"
    "attribute.repository_id" = "assertion.repository_id"
  }

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account_iam_member" "ci" {
  count = var.deployer_repository_id == null ? 0 : 1

  service_account_id = google_service_account.deployer.name
  role               = "roles/iam.workloadIdentityUser"
  member = join("/", [
    "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.ci[0].name}",
    "attribute.repository_id",
    var.deployer_repository_id,
  ])
}
