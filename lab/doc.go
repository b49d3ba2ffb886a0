// Package lab tries Kontor against programs that others wrote for the
// Sovereign European Cloud API: its public conformance suite and its public
// Terraform provider. They are built outside of this module; README.md says how.
package lab
