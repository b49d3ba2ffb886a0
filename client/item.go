package client

import (
	"context"
	"encoding/json"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"strconv"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
)

// An Item is a document and the bytes that it came in. It is written as these
// bytes, so that nothing is lost which this version does not know.
type Item struct {
	seca.Document
	Raw json.RawMessage
}

// UnmarshalJSON keeps the bytes beside their meaning.
func (i *Item) UnmarshalJSON(b []byte) error {
	i.Document = seca.Document{}
	i.Raw = append(json.RawMessage(nil), b...)
	return json.Unmarshal(b, &i.Document)
}

// MarshalJSON writes what came.
func (i Item) MarshalJSON() ([]byte, error) {
	if i.Raw == nil {
		return json.Marshal(i.Document)
	}
	return i.Raw, nil
}

// State is the state that the item's status carries; "" for kinds without one.
func (i Item) State() seca.State { return i.Common().State }

// Common decodes what all statuses have.
func (i Item) Common() seca.Status {
	var s seca.Status
	_ = json.Unmarshal(i.Status, &s) // a status of another shape says nothing in common
	return s
}

// Get reads one resource.
func (c *Client) Get(ctx context.Context, at string) (Item, error) {
	var i Item
	_, err := c.Do(ctx, Call{Method: http.MethodGet, URL: at, Out: &i})
	return i, err
}

// Put writes one resource and reports whether it is new. A version other than
// 0 must be the one that it still has, else the error is Stale.
func (c *Client) Put(ctx context.Context, at string, document any, version int64) (Item, bool, error) {
	var i Item
	status, err := c.Do(ctx, Call{Method: http.MethodPut, URL: at, In: document, Version: version, Out: &i})
	return i, status == http.StatusCreated, err
}

// Delete asks for the end of one resource. It is gone when Get says Missing.
func (c *Client) Delete(ctx context.Context, at string, version int64) error {
	_, err := c.Do(ctx, Call{Method: http.MethodDelete, URL: at, Version: version})
	return err
}

// Post asks for an action. Neither in nor out is needed.
func (c *Client) Post(ctx context.Context, at string, in, out any) error {
	_, err := c.Do(ctx, Call{Method: http.MethodPost, URL: at, In: in, Out: out})
	return err
}

// A Query narrows a list.
type Query struct {
	Labels string     // selector: env=prod,tier!=web
	Page   int        // items in one answer; 0 leaves it to the server
	More   url.Values // parameters that some collections have beside
}

// List yields what a collection holds, page by page. It ends with the first error.
func (c *Client) List(ctx context.Context, collection string, q Query) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		var token string
		for {
			page, err := c.page(ctx, collection, q, token)
			if err != nil {
				yield(Item{}, err)
				return
			}
			for _, i := range page.Items {
				if !yield(i, nil) {
					return
				}
			}
			next := page.Metadata.SkipToken
			if next == "" || len(page.Items) == 0 {
				return
			}
			if next == token {
				yield(Item{}, fault.Malformed.Errorf("list %s: the exchange gives the same page again", collection))
				return
			}
			token = next
		}
	}
}

func (c *Client) page(ctx context.Context, collection string, q Query, token string) (seca.List[Item], error) {
	values := url.Values{}
	maps.Copy(values, q.More)
	if q.Labels != "" {
		values.Set("labels", q.Labels)
	}
	if q.Page > 0 {
		values.Set("limit", strconv.Itoa(q.Page))
	}
	if token != "" {
		values.Set("skipToken", token)
	}
	var page seca.List[Item]
	_, err := c.Do(ctx, Call{Method: http.MethodGet, URL: collection, Query: values, Out: &page})
	return page, err
}

// All collects a list.
func All(items iter.Seq2[Item, error]) ([]Item, error) {
	all := []Item{}
	for i, err := range items {
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, nil
}
