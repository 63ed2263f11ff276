"""Every metric that Vigil emits, a file per area: OpenTelemetry name, kind, unit, merging."""
