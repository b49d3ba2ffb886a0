// Op is an OpenID Connect provider for tests alone: zitadel/oidc's, with one
// client "cli" that may log devices in, and its user test-user@127.0.0.1. It
// listens on a free port of 127.0.0.1 and prints "ready URL".
package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// A public client needs no secret, and gets JWTs as access tokens.
type public struct{ op.Client }

func (public) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethodNone }
func (public) ApplicationType() op.ApplicationType { return op.ApplicationTypeNative }
func (public) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }
func (public) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeDeviceCode, oidc.GrantTypeRefreshToken}
}

// A store gives refresh tokens to devices, too.
type store struct{ *storage.Storage }

func (s store) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := s.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	return public{c}, nil
}

func (s store) CompleteDeviceAuthorization(ctx context.Context, userCode, _ string) error {
	return s.Storage.CompleteDeviceAuthorization(ctx, userCode, "id1") // the user's id, where the example takes his name
}

func (s store) CreateAccessAndRefreshTokens(ctx context.Context, r op.TokenRequest, current string) (string, string, time.Time, error) {
	if d, ok := r.(*op.DeviceAuthorizationState); ok {
		r = &storage.RefreshTokenRequest{RefreshToken: &storage.RefreshToken{
			ApplicationID: d.ClientID, UserID: d.Subject, Audience: d.GetAudience(), Scopes: d.GetScopes(), AuthTime: d.AuthTime,
		}}
	}
	return s.Storage.CreateAccessAndRefreshTokens(ctx, r, current)
}

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	issuer := "http://" + l.Addr().String() + "/"
	storage.RegisterClients(storage.DeviceClient("cli", ""))
	s := store{storage.NewStorage(storage.NewUserStore(issuer))}
	handler := exampleop.SetupServer(issuer, s, slog.New(slog.DiscardHandler), false)
	fmt.Println("ready", issuer)
	log.Fatal(http.Serve(l, handler))
}
