"""What `make deploy` needs beside gcloud."""
