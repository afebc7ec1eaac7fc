project     = "my-taxi-dev"
environment = "dev"

alert_emails        = ["taxi-dev@example.com"]
retention_days      = 40
deletion_protection = false
