package qemu

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// consoleBytes is how long a log grows before it becomes the older one of two,
// so that a guest can fill twice this much of the host's disk with its console.
const consoleBytes = 1 << 20

// RunConsole is the process beside each machine's QEMU. It keeps what QEMU
// writes, in dir: the serial console, from file descriptor 3, in console.log, and
// QEMU's own messages, from 4, in qemu.log. It returns when QEMU has ended.
func RunConsole(dir string) error {
	return keepBoth(dir, os.NewFile(3, "serial"), os.NewFile(4, "messages"))
}

func keepBoth(dir string, serial, messages io.Reader) error {
	var failed [2]error
	var both sync.WaitGroup
	both.Go(func() { failed[0] = keep(filepath.Join(dir, "console.log"), serial, consoleBytes) })
	both.Go(func() { failed[1] = keep(filepath.Join(dir, "qemu.log"), messages, consoleBytes) })
	both.Wait()
	return errors.Join(failed[:]...)
}

// keep appends what it reads to the file, and starts a new one when it is full.
// Where it cannot write, it goes on reading: a guest must not hang on its log.
func keep(path string, in io.Reader, limit int64) error {
	var failed error
	buffer := make([]byte, 16<<10)
	for {
		n, err := in.Read(buffer)
		if n > 0 {
			failed = keepErr(failed, appendTo(path, buffer[:n], limit))
		}
		if err == io.EOF {
			return failed
		}
		if err != nil {
			return err
		}
	}
}

func keepErr(first, next error) error {
	if first != nil {
		return first
	}
	return next
}

func appendTo(path string, text []byte, limit int64) error {
	info, err := os.Stat(path)
	if err == nil && info.Size()+int64(len(text)) > limit {
		if err := os.Rename(path, path+".1"); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// console returns the last bytes of a machine's serial console, at most tail.
func (h *host) console(ctx context.Context, id string, tail int) ([]byte, error) {
	if _, err := h.instances.get(id); err != nil {
		return nil, err
	}
	path := filepath.Join(h.instances.dir(id), "console.log")
	text, err := readTail(path, tail)
	if err != nil || len(text) >= tail {
		return text, err
	}
	older, err := readTail(path+".1", tail-len(text))
	return append(older, text...), err
}

func readTail(path string, tail int) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	from := max(0, info.Size()-int64(max(tail, 0)))
	return io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
}
