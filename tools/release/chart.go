package main

import (
	"compress/gzip"
	"io"
	"os"
	"regexp"
)

var chartVersion = regexp.MustCompile(`(?m)^(version|appVersion):.*$`)

// chart packs deploy/helm/kontor with the version of the release in it.
func (r release) chart(w io.Writer) error {
	versions := map[string]string{"version": r.semantic(), "appVersion": r.version}
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	err = r.tar(z, "kontor/", os.DirFS("deploy/helm/kontor"), func(name string, body []byte) []byte {
		if name != "Chart.yaml" {
			return body
		}
		return chartVersion.ReplaceAllFunc(body, func(line []byte) []byte {
			key := string(chartVersion.FindSubmatch(line)[1])
			return []byte(key + `: "` + versions[key] + `"`)
		})
	})
	if err != nil {
		return err
	}
	return z.Close()
}
