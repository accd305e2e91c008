package policies

import "embed"

// Examples are the policies that come with bpfwall, as examples/*.toml: starting points that pass their own tests.
//
//go:embed examples/*.toml
var Examples embed.FS
