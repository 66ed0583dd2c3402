// Package register: the real operator imports forty providers, and with them the libraries of every cloud. These two are
// the ones that the tests speak to.
package register

import (
	_ "github.com/external-secrets/external-secrets/pkg/provider/fake"
	_ "github.com/external-secrets/external-secrets/pkg/provider/kubernetes"
)
