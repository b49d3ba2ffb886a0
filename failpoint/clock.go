//go:build crucible

package failpoint

import (
	"bytes"
	"os"
	"sync/atomic"
	"time"
	_ "unsafe" // for go:linkname
)

// wallSkew is by how many seconds the wall clock is wrong. Package time looks
// at it if the binary was built with the overlay that package crash makes.
//
//go:linkname wallSkew time.wallSkew
var wallSkew int64

// obey sets the wall clock wrong by as much as a file says, now and whenever
// that changes. While the file cannot be read the clock is right.
func obey(file string) {
	set := func() {
		text, _ := os.ReadFile(file)
		d, _ := time.ParseDuration(string(bytes.TrimSpace(text)))
		atomic.StoreInt64(&wallSkew, int64(d/time.Second))
	}
	set()
	go func() {
		for range time.Tick(10 * time.Millisecond) {
			set()
		}
	}()
}
