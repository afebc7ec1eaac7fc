"""Deployment to Cloud Composer, by gcloud and docker: `make deploy`."""
