"""The HTTP surface: routes, schemas, problems. It asks the supervisor and never sees a provider."""
