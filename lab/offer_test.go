package lab

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/seca"
)

// skus lists what a provider of the region sells to the tenant.
func (x *exchange) skus(t *testing.T, provider string) []client.Item {
	t.Helper()
	at, err := x.client.Regional(t.Context(), x.region, provider)
	if err != nil {
		t.Fatal(err)
	}
	all, err := client.All(x.client.List(t.Context(), client.Under(at, "tenants", tenant, "skus"), client.Query{}))
	if err != nil || len(all) == 0 {
		t.Fatalf("region %s sells no skus of %s (%v)", x.region, provider, err)
	}
	return all
}

// sku names the first one.
func (x *exchange) sku(t *testing.T, provider string) string {
	t.Helper()
	return x.skus(t, provider)[0].Metadata.Name
}

// size names the smallest machine.
func (x *exchange) size(t *testing.T) string {
	t.Helper()
	ram := func(i client.Item) int { return member[seca.InstanceSKUSpec](t, i.Spec).RAM }
	return slices.MinFunc(x.skus(t, "seca.compute"), func(a, b client.Item) int { return cmp.Compare(ram(a), ram(b)) }).Metadata.Name
}

// fetch gets a page from HOST:PORT, or "" if there is none yet.
func fetch(ctx context.Context, at string) string {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/", nil)
	if err != nil {
		return ""
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	page, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10)) // a part of it will do
	return string(page)
}
