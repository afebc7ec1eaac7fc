"""The services of google.cloud.aiplatform.v1: protobuf in, protobuf out, state in the store."""
