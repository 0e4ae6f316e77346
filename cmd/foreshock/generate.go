package main

// The configuration's reference and its schema are printed by the program; the
// copies in docs are for reading without it. `make lint` fails when they
// differ.
//
//go:generate sh -c "go run . config reference > ../../docs/foreshock.reference.yaml"
//go:generate sh -c "go run . config schema > ../../docs/foreshock.schema.json"
