project     = "my-taxi-prod"
environment = "prod"

alert_emails     = ["taxi-oncall@example.com"]
environment_size = "ENVIRONMENT_SIZE_MEDIUM"
resilience_mode  = "HIGH_RESILIENCE"
retention_days   = 400
private_network  = true
