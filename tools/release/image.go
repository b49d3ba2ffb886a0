package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user is who runs in the image. Its number is in no file, so that
// orchestrators which look for names find none that means more.
const user = 10001

// image writes an OCI layout with one image for each architecture: the binary,
// and the authorities that browsers trust.
func (r release) image(w io.Writer, architectures []string) error {
	dir, err := os.MkdirTemp("", "kontor-oci-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range architectures {
		image, err := r.imageFor(arch)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	all, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	name := layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "kontor:" + r.version})
	if err := all.AppendIndex(index, name); err != nil {
		return err
	}
	return r.tar(w, "", os.DirFS(dir), func(_ string, body []byte) []byte { return body })
}

func (r release) imageFor(arch string) (v1.Image, error) {
	layer, err := r.layer(arch)
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.Append(image, mutate.Addendum{
		Layer: layer, MediaType: types.OCILayer, History: v1.History{Created: v1.Time{Time: r.at}, CreatedBy: "kontor " + r.version},
	})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config.OS, config.Architecture, config.Created = "linux", arch, v1.Time{Time: r.at}
	config.Config = v1.Config{
		Entrypoint: []string{"/usr/bin/kontor"}, Cmd: []string{"serve", "--data", "/var/lib/kontor"},
		User: "10001:10001", WorkingDir: "/var/lib/kontor", Volumes: map[string]struct{}{"/var/lib/kontor": {}},
		Env: []string{"KONTOR_LOG=json"},
		Labels: map[string]string{
			"org.opencontainers.image.title": "kontor", "org.opencontainers.image.version": r.version,
			"org.opencontainers.image.source": "https://github.com/kontor-cloud/kontor",
		},
	}
	return mutate.ConfigFile(image, config)
}

// layer is the only one of an image.
func (r release) layer(arch string) (v1.Layer, error) {
	binary, err := os.ReadFile(filepath.Join(r.dist, "kontor-linux-"+arch))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	for _, f := range []struct {
		name  string
		mode  int64
		owner int
		body  []byte
	}{
		{"usr/", 0o755, 0, nil},
		{"usr/bin/", 0o755, 0, nil},
		{"usr/bin/kontor", 0o755, 0, binary},
		{"etc/", 0o755, 0, nil},
		{"etc/ssl/", 0o755, 0, nil},
		{"etc/ssl/certs/", 0o755, 0, nil},
		{"etc/ssl/certs/ca-certificates.crt", 0o644, 0, authorities()},
		{"tmp/", 0o1777, 0, nil},
		{"var/", 0o755, 0, nil},
		{"var/lib/", 0o755, 0, nil},
		{"var/lib/kontor/", 0o700, user, nil},
	} {
		if err := r.entry(t, f.name, f.mode, f.owner, f.body); err != nil {
			return nil, err
		}
	}
	if err := t.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }, tarball.WithMediaType(types.OCILayer))
}

// authorities are those that browsers trust without a condition that a file
// cannot say.
func authorities() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) //nolint:errcheck // a buffer takes all
		}
	}
	return b.Bytes()
}

// entry writes a file, or, if its name ends in a slash, a directory.
func (r release) entry(t *tar.Writer, name string, mode int64, owner int, body []byte) error {
	h := &tar.Header{Name: name, Mode: mode, Uid: owner, Gid: owner, Size: int64(len(body)), ModTime: r.at, Format: tar.FormatPAX, Typeflag: tar.TypeReg}
	if name[len(name)-1] == '/' {
		h.Typeflag = tar.TypeDir
	}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err := t.Write(body)
	return err
}

// tar writes the files of a tree, in the order of their names, as they are or as
// change makes them.
func (r release) tar(w io.Writer, prefix string, tree fs.FS, change func(name string, body []byte) []byte) error {
	t := tar.NewWriter(w)
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		return r.entry(t, prefix+name, 0o644, 0, change(name, body))
	})
	if err != nil {
		return err
	}
	return t.Close()
}
