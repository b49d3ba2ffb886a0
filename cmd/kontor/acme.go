package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"time"

	"github.com/kontor-cloud/kontor/certificate"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/envelope"
	"github.com/kontor-cloud/kontor/fault"
)

const (
	acmeHelp = "the authority must find this exchange at port 443 of each --acme-domain (DNS, firewall, forwarding), and this machine its --acme-directory; then start again"

	// How often it is looked whether the certificate is to be renewed, and at
	// least tried after a failure. A third of its life remains.
	renewCertificate = 10 * time.Minute
)

// acmeCertificate is issued by an ACME authority.
type acmeCertificate struct{ *certificate.Keeper }

func openACME(ctx context.Context, d *db.DB, box *envelope.Box, c certificate.Config, log *slog.Logger) (clientCertificate, error) {
	k, err := certificate.Open(ctx, d, box, c, log)
	if errors.Is(err, fault.Invalid) || errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("the certificate for clients: %v", err)
	}
	if err != nil {
		return nil, fmt.Errorf("the certificate for clients: %w", err)
	}
	return acmeCertificate{k}, nil
}

// first gets the first certificate, so that what is wrong is told to who starts
// the exchange and not to its clients.
func (a acmeCertificate) first(ctx context.Context, ln net.Listener) error {
	l, ok := ln.(certificate.Listener)
	if !ok {
		return fmt.Errorf("the listener %s cannot serve an ACME authority alone", ln.Addr())
	}
	if err := a.First(ctx, l); err != nil {
		return hinted{fmt.Errorf("the certificate for clients: %w", err), acmeHelp}
	}
	return nil
}

func (a acmeCertificate) watch(ctx context.Context) error { return a.Watch(ctx) }

func (a acmeCertificate) config() *tls.Config {
	c := clientTLS(a.Show)
	c.NextProtos = append(c.NextProtos, certificate.Protocol)
	return c
}
