// The sockets under the connections.

package main

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// swapSocket is a UDP socket that can be replaced under a live connection: what a NAT does that
// forgets a binding. The connection learns nothing of it.
type swapSocket struct {
	mu      sync.RWMutex
	current *net.UDPConn
	swaps   int
}

func (s *swapSocket) socket() (*net.UDPConn, int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.current, s.swaps
}

// swap goes on with another socket and closes the old one.
func (s *swapSocket) swap(next *net.UDPConn) error {
	s.mu.Lock()
	old := s.current
	s.current, s.swaps = next, s.swaps+1
	s.mu.Unlock()
	return old.Close()
}

func (s *swapSocket) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		socket, swaps := s.socket()
		n, from, err := socket.ReadFrom(p)
		if _, now := s.socket(); err != nil && now != swaps {
			continue // the socket was swapped while we waited on it
		}
		return n, from, err
	}
}

func (s *swapSocket) WriteTo(p []byte, to net.Addr) (int, error) {
	for {
		socket, swaps := s.socket()
		n, err := socket.WriteTo(p, to)
		if _, now := s.socket(); errors.Is(err, net.ErrClosed) && now != swaps {
			continue
		}
		return n, err
	}
}

func (s *swapSocket) Close() error                  { c, _ := s.socket(); return c.Close() }
func (s *swapSocket) LocalAddr() net.Addr           { c, _ := s.socket(); return c.LocalAddr() }
func (s *swapSocket) SetDeadline(t time.Time) error { c, _ := s.socket(); return c.SetDeadline(t) }
func (s *swapSocket) SetReadDeadline(t time.Time) error {
	c, _ := s.socket()
	return c.SetReadDeadline(t)
}
func (s *swapSocket) SetWriteDeadline(t time.Time) error {
	c, _ := s.socket()
	return c.SetWriteDeadline(t)
}

// route is what one connection, or with -shared all of them, send through.
type route struct {
	o       *options
	network string
	first   *quic.Transport
	swap    *swapSocket // nil unless the connection is to be rebound
	next    *quic.Transport
	mu      sync.Mutex
	swapped bool
}

func newRoute(o *options, target *net.UDPAddr) (*route, error) {
	r := &route{o: o, network: "udp4"}
	if target.IP.To4() == nil {
		r.network = "udp6"
	}
	socket, err := r.listen(o.local)
	if err != nil {
		return nil, err
	}
	if o.rebind {
		r.swap = &swapSocket{current: socket}
		r.first = &quic.Transport{Conn: r.swap, ConnectionIDLength: o.cidLength}
	} else {
		r.first = &quic.Transport{Conn: socket, ConnectionIDLength: o.cidLength}
	}
	return r, nil
}

// move gives the connection another address, with or without its knowledge.
func (r *route) move(ctx context.Context, c *quic.Conn) error {
	if r.swap != nil {
		return r.rebind()
	}
	next, err := r.nextTransport()
	if err != nil {
		return err
	}
	path, err := c.AddPath(next)
	if err != nil {
		return err
	}
	if err := path.Probe(ctx); err != nil {
		return err
	}
	return path.Switch()
}

// rebind swaps the socket, once for all connections that share it.
func (r *route) rebind() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.swapped {
		return nil
	}
	next, err := r.listen(r.o.rebindTo)
	if err != nil {
		return err
	}
	r.swapped = true
	return r.swap.swap(next)
}

// nextTransport is where active migration leads, the same for all connections that share a socket.
func (r *route) nextTransport() (*quic.Transport, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		socket, err := r.listen(r.o.rebindTo)
		if err != nil {
			return nil, err
		}
		r.next = &quic.Transport{Conn: socket, ConnectionIDLength: r.o.cidLength}
	}
	return r.next, nil
}

func (r *route) close() {
	for _, transport := range []*quic.Transport{r.first, r.next} {
		if transport != nil {
			transport.Close()
			transport.Conn.Close()
		}
	}
}

// listen opens a socket on an IP address, with or without a port; any address if it is empty.
func (r *route) listen(local string) (*net.UDPConn, error) {
	var address *net.UDPAddr
	if local != "" {
		if net.ParseIP(local) != nil {
			local = net.JoinHostPort(local, "0")
		}
		var err error
		if address, err = net.ResolveUDPAddr(r.network, local); err != nil {
			return nil, err
		}
	}
	socket, err := net.ListenUDP(r.network, address)
	if err == nil {
		socket.SetReadBuffer(4 << 20) // as much as the kernel grants
	}
	return socket, err
}
