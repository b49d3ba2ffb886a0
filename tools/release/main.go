// Command release packs the binaries in a directory: a Debian package and, for
// each architecture, an image of the Open Container Initiative, without a daemon
// or a registry. The same input gives the same bytes. hack/release calls it from
// the root of the repository.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A release is what is packed.
type release struct {
	version string    // as git describes it: v1.2.3, v1.2.3-4-gabcdef, or a commit
	at      time.Time // of the commit
	dist    string
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("release: ")
	var r release
	var epoch int64
	flag.StringVar(&r.version, "version", "", "version, as git describes it")
	flag.Int64Var(&epoch, "epoch", 0, "time of the commit, in seconds since 1970")
	flag.StringVar(&r.dist, "dist", "dist", "directory with the binaries, for the packages")
	flag.Parse()
	r.at = time.Unix(epoch, 0).UTC()
	if err := r.pack(flag.Args()); err != nil {
		log.Fatal(err)
	}
}

func (r release) pack(architectures []string) error {
	for _, arch := range architectures {
		if err := r.write("kontor_"+r.debian()+"_"+arch+".deb", func(w io.Writer) error { return r.deb(w, arch) }); err != nil {
			return fmt.Errorf("Debian package for %s: %w", arch, err)
		}
	}
	if err := r.write("kontor-"+r.version+"-oci.tar", func(w io.Writer) error { return r.image(w, architectures) }); err != nil {
		return fmt.Errorf("image: %w", err)
	}
	if err := r.write("kontor-chart-"+r.semantic()+".tgz", r.chart); err != nil {
		return fmt.Errorf("chart: %w", err)
	}
	return nil
}

func (r release) write(name string, fill func(io.Writer) error) error {
	f, err := os.Create(filepath.Join(r.dist, name))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := fill(f); err != nil {
		return err
	}
	return f.Close()
}

// semantic is the version in the form of semver.org. A commit without a release
// before it is 0.0.0.
func (r release) semantic() string {
	v := strings.TrimPrefix(r.version, "v")
	if strings.Count(strings.SplitN(v, "-", 2)[0], ".") != 2 {
		return "0.0.0-" + v
	}
	return v
}

// debian is the version in Debian's order: what comes after a release is later.
func (r release) debian() string {
	return strings.Replace(r.semantic(), "-", "+", 1)
}
