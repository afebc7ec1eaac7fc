"""The vocabulary that the services and the engine share: names, errors, states and records."""
