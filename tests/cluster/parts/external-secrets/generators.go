// Package register: no generator but the fake one, which needs no library of its own.
package register

import _ "github.com/external-secrets/external-secrets/pkg/generator/fake"
