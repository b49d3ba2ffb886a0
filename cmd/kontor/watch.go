package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
)

const watchEvery = time.Second

// watch shows the collections, then each change of one of their things. It ends
// with the context, which is no failure. An exchange that stops answering
// meanwhile is waited for.
func (a *app) watch(ctx context.Context, ks []kind, l listing) error {
	seen, began := map[string]int64{}, false
	for {
		for _, k := range ks {
			err := a.watchOnce(ctx, k, l, seen)
			switch {
			case ctx.Err() != nil:
				return nil
			case began && errors.Is(err, fault.Unavailable):
				a.complain(err.Error(), nil, "")
			case err != nil:
				return err
			}
			began = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchEvery):
		}
	}
}

func (a *app) watchOnce(ctx context.Context, k kind, l listing, seen map[string]int64) error {
	items, err := a.collect(ctx, k, l)
	if err != nil {
		return err
	}
	s := a.sheet(k, l)
	s.prefixed = true
	s.started = len(seen) > 0 // titles once
	here := map[string]bool{}
	for _, i := range items {
		here[i.Metadata.Ref] = true
		if v, known := seen[i.Metadata.Ref]; known && v == i.Metadata.ResourceVersion {
			continue
		}
		seen[i.Metadata.Ref] = i.Metadata.ResourceVersion
		if err := a.watched(s, i); err != nil {
			return err
		}
	}
	for _, gone := range slices.Sorted(maps.Keys(seen)) {
		if !here[gone] && strings.Contains(gone, "/"+k.collection+"/") {
			delete(seen, gone)
			if !a.structured() {
				fmt.Fprintf(s.w, "%s\tgone\n", clean(k.name+gone[strings.LastIndexByte(gone, '/'):]))
			}
		}
	}
	return s.flush()
}

// watched shows one change: a row, or a document on a line of its own.
func (a *app) watched(s *sheet, i client.Item) error {
	switch a.output {
	case "json":
		return json.NewEncoder(a.stdout).Encode(i)
	case "yaml":
		fmt.Fprintln(a.stdout, "---")
		return a.write(i)
	}
	s.add(i)
	return nil
}
