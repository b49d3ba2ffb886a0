package vnet

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// queueLen is how many frames wait for a guest before others are dropped.
const queueLen = 512

// redialEvery is how often a port looks for its guest, at most.
const redialEvery = 100 * time.Millisecond

// A port is the network's end of a NIC: the sockets that QEMU connects to and
// the queue of what it has yet to read. A guest that does not read fills its
// own queue and disturbs nobody.
type port struct {
	nic     string
	dir     string
	handle  func(*port, *frame) // takes ownership of the frame
	filter  *filter
	seat    atomic.Pointer[seat]
	queue   chan *frame
	done    chan struct{}
	workers sync.WaitGroup
	log     *slog.Logger

	streams   *net.UnixListener
	datagrams *net.UnixConn

	mu     sync.Mutex
	link   link // the newest; nil before the first
	closed bool

	sent, received counter
}

// A counter is Traffic as it grows.
type counter struct{ frames, bytes, dropped atomic.Uint64 }

func (c *counter) count(n int) { c.frames.Add(1); c.bytes.Add(uint64(n)) }

func (c *counter) traffic() Traffic {
	return Traffic{Frames: c.frames.Load(), Bytes: c.bytes.Load(), Dropped: c.dropped.Load()}
}

// A link takes frames to a guest.
type link interface {
	send(f *frame, more bool) error // more says that another frame follows at once
	Close() error
}

// openPort listens for the guest of a NIC.
func openPort(dir, nic string, fl *filter, handle func(*port, *frame), log *slog.Logger) (*port, error) {
	p := &port{
		nic: nic, dir: dir, handle: handle, filter: fl, log: log.With("nic", nic),
		queue: make(chan *frame, queueLen), done: make(chan struct{}),
	}
	ours, guest := datagramPaths(dir, nic)
	if err := checkPath(guest); err != nil {
		return nil, err
	}
	if err := p.listen(StreamPath(dir, nic), ours); err != nil {
		return nil, err
	}
	p.workers.Go(p.accept)
	p.workers.Go(p.readDatagrams)
	p.workers.Go(p.write)
	return p, nil
}

func (p *port) listen(stream, datagram string) (err error) {
	os.Remove(stream) // of a process that was killed: we hold the lock
	os.Remove(datagram)
	p.streams, err = net.ListenUnix("unix", &net.UnixAddr{Name: stream, Net: "unix"})
	if err != nil {
		return err
	}
	p.datagrams, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: datagram, Net: "unixgram"})
	if err != nil {
		return errors.Join(err, p.streams.Close())
	}
	return errors.Join(os.Chmod(stream, 0o600), os.Chmod(datagram, 0o600))
}

// close ends all and removes the sockets.
func (p *port) close() {
	p.mu.Lock()
	p.closed = true
	if p.link != nil {
		p.link.Close()
	}
	p.mu.Unlock()
	close(p.done)
	p.streams.Close()
	p.datagrams.Close()
	ours, _ := datagramPaths(p.dir, p.nic)
	os.Remove(ours)
	p.workers.Wait()
}

// enqueue hands a frame to the guest, or drops it where too many wait.
func (p *port) enqueue(f *frame) {
	select {
	case p.queue <- f:
	default:
		p.received.dropped.Add(1)
		f.release()
	}
}

// use makes l the way to the guest, and ends an earlier one.
func (p *port) use(l link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		l.Close()
		return false
	}
	if p.link != nil {
		p.link.Close()
	}
	p.link = l
	return true
}

// lose forgets a link that no longer works.
func (p *port) lose(l link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.Close()
	if p.link == l {
		p.link = nil
	}
}

func (p *port) current() link {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.link
}

// connected reports whether a guest is there.
func (p *port) connected() bool {
	l := p.current()
	if _, ok := l.(*streamLink); ok {
		return true
	}
	_, guest := datagramPaths(p.dir, p.nic)
	probe, err := dialDatagram(guest)
	if err != nil {
		return false
	}
	probe.Close()
	return true
}

// write takes frames from the queue to the guest.
func (p *port) write() {
	var redial time.Time
	for {
		select {
		case <-p.done:
			return
		case f := <-p.queue:
			ok := p.deliver(p.current(), f)
			if !ok && time.Now().After(redial) {
				redial = time.Now().Add(redialEvery)
				ok = p.deliver(p.dial(), f) // to one that came in the former's place
			}
			if !ok {
				p.received.dropped.Add(1)
			}
			f.release()
		}
	}
}

// deliver reports whether it could write the frame.
func (p *port) deliver(l link, f *frame) bool {
	if l == nil {
		return false
	}
	if err := l.send(f, len(p.queue) > 0); err != nil {
		p.lose(l)
		return false
	}
	p.received.count(f.n)
	return true
}

// dial looks for a guest that waits for datagrams.
func (p *port) dial() link {
	_, guest := datagramPaths(p.dir, p.nic)
	l, err := dialDatagram(guest)
	if err != nil || !p.use(l) {
		return nil
	}
	return l
}

// take hands on a frame that the guest sent.
func (p *port) take(f *frame) {
	p.sent.count(f.n)
	p.handle(p, f)
}

// accept serves streams. The newest is the guest: an older one may be the
// remains of a QEMU that was killed.
func (p *port) accept() {
	var readers sync.WaitGroup
	defer readers.Wait()
	for {
		conn, err := p.streams.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			p.log.Warn("accepting a guest", "error", err)
			time.Sleep(100 * time.Millisecond) // out of file descriptors, most likely
			continue
		}
		l := &streamLink{UnixConn: conn, w: bufio.NewWriterSize(conn, MaxFrame)}
		if p.use(l) {
			readers.Go(func() { p.readStream(l) })
		}
	}
}

func (p *port) readStream(l *streamLink) {
	defer p.lose(l)
	r := bufio.NewReaderSize(l, MaxFrame)
	for {
		f, err := readFrame(r)
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				p.log.Info("guest disconnected", "error", err)
			}
			return
		}
		p.take(f)
	}
}

var errFrameSize = errors.New("a frame of impossible size")

// readFrame reads one frame from a stream.
func readFrame(r *bufio.Reader) (*frame, error) {
	head, err := r.Peek(prefixLen)
	if err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head)
	if n < etherLen || n > MaxFrame {
		return nil, errFrameSize
	}
	r.Discard(prefixLen)
	f := newFrame(int(n))
	if _, err := io.ReadFull(r, f.bytes()); err != nil {
		f.release()
		return nil, err
	}
	return f, nil
}

func (p *port) readDatagrams() {
	buf := make([]byte, MaxFrame+1)
	for {
		n, err := p.datagrams.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < etherLen || n > MaxFrame {
			p.sent.dropped.Add(1)
			continue
		}
		f := newFrame(n)
		copy(f.bytes(), buf[:n])
		p.take(f)
	}
}

// A streamLink writes frames after their lengths.
type streamLink struct {
	*net.UnixConn
	w *bufio.Writer
}

func (l *streamLink) send(f *frame, more bool) error {
	if _, err := l.w.Write(f.prefixed()); err != nil || more {
		return err
	}
	return l.w.Flush()
}

// A datagramLink writes each frame as a datagram.
type datagramLink struct{ *net.UnixConn }

func dialDatagram(path string) (*datagramLink, error) {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	return &datagramLink{c}, nil
}

func (l *datagramLink) send(f *frame, _ bool) error {
	_, err := l.Write(f.bytes())
	return err
}
