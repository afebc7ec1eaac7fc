project     = "my-taxi-staging"
environment = "staging"

alert_emails   = ["taxi-staging@example.com"]
retention_days = 90
