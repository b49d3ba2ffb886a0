package main

import (
	"io"
	"os"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
)

// deb writes the package that deploy/debian/nfpm.yaml describes.
func (r release) deb(w io.Writer, arch string) error {
	f, err := os.Open("deploy/debian/nfpm.yaml")
	if err != nil {
		return err
	}
	defer f.Close()
	values := map[string]string{"ARCH": arch, "DIST": r.dist, "VERSION": r.debian()}
	config, err := nfpm.ParseWithEnvMapping(f, func(name string) string { return values[name] })
	if err != nil {
		return err
	}
	info, err := config.Get("deb")
	if err != nil {
		return err
	}
	info.MTime = r.at
	info.VersionSchema = "none"
	info = nfpm.WithDefaults(info)
	if err := nfpm.PrepareForPackager(info, "deb"); err != nil {
		return err
	}
	return deb.Default.Package(info, w)
}
