"""Cloud Monitoring's time series about the predictions of deployed models."""
