"""What the client tests, the conformance run and their fixtures share."""
