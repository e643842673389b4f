// The life of the client's connections.

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// client is what all connections of a run have in common.
type client struct {
	o      *options
	target *net.UDPAddr
	tls    *tls.Config
	quic   *quic.Config
	shared *route // nil unless -shared
	tally  *tally
	// How many connections are, or were, on hold.
	holding atomic.Int64
	told    chan struct{} // closed when no more requests are to be made than the flags ask for
}

// runClients makes all connections and prints what became of them; answers whether nothing was lost.
func runClients(o *options) bool {
	target, err := o.target()
	if err != nil {
		exit(err.Error())
	}
	secure, err := o.tlsConfig()
	if err != nil {
		exit(err.Error())
	}
	cl := &client{o: o, target: target, tls: secure, quic: o.quicConfig(), tally: newTally()}
	cl.told = make(chan struct{})
	if o.untilTold {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGUSR1)
		go func() { <-signals; close(cl.told) }()
	} else {
		close(cl.told)
	}
	if o.shared {
		if cl.shared, err = newRoute(o, target); err != nil {
			exit(err.Error())
		}
		defer cl.shared.close()
	}
	begun := time.Now()
	slots := make(chan struct{}, max(1, o.atOnce))
	var all sync.WaitGroup
	for i := range o.connections {
		time.Sleep(time.Until(begun.Add(time.Duration(i) * o.every)))
		slots <- struct{}{}
		all.Add(1)
		go func() {
			defer func() { <-slots; all.Done() }()
			if err := cl.connect(); err != nil {
				cl.tally.failed(err)
			}
		}()
	}
	all.Wait()
	return cl.tally.print(o, time.Since(begun))
}

// connect makes one connection, does on it what the verb says, and closes it.
func (cl *client) connect() error {
	ctx, cancel := cl.o.withTimeout()
	defer cancel()
	way := cl.shared
	if way == nil {
		var err error
		if way, err = newRoute(cl.o, cl.target); err != nil {
			return err
		}
		defer way.close()
	}
	if cl.o.follow {
		return cl.follow(ctx, way)
	}
	dial := way.first.Dial
	if cl.o.resume {
		dial = way.first.DialEarly
	}
	begun := time.Now()
	conn, err := dial(ctx, cl.target, cl.tls.Clone(), cl.quic)
	if err != nil {
		cl.tally.refused()
		return fmt.Errorf("handshake: %w", err)
	}
	cl.tally.connected(time.Since(begun))
	defer conn.CloseWithError(0x100, "") // H3_NO_ERROR
	trip := &journey{after: cl.o.rebindAt, move: func() error { return way.move(ctx, conn) }}
	if err := cl.work(ctx, conn, trip); err != nil {
		return err
	}
	if cl.o.moves() {
		if err := trip.arrive(ctx); err != nil {
			return fmt.Errorf("move: %w", err)
		}
		cl.tally.movedOn()
	}
	cl.tally.resumed(conn.ConnectionState())
	if cl.o.hold > 0 {
		if cl.holding.Add(1) == int64(cl.o.connections) {
			fmt.Println("all on hold")
		}
		select {
		case <-time.After(cl.o.hold):
		case <-conn.Context().Done():
			return fmt.Errorf("lost on hold: %w", context.Cause(conn.Context()))
		}
	}
	return nil
}

// follow makes all requests of a connection, and goes on with another one where the server asks
// for that (GOAWAY), as clients do that pool their connections.
func (cl *client) follow(ctx context.Context, way *route) error {
	dials := 0
	pool := &http3.Transport{TLSClientConfig: cl.tls, QUICConfig: cl.quic, DisableCompression: true}
	pool.Dial = func(ctx context.Context, _ string, secure *tls.Config, config *quic.Config) (*quic.Conn, error) {
		begun := time.Now()
		conn, err := way.first.DialEarly(ctx, cl.target, secure, config)
		if err == nil && dials == 0 {
			cl.tally.connected(time.Since(begun))
		}
		if dials++; err != nil {
			cl.tally.refused()
		}
		return conn, err
	}
	defer pool.Close()
	return cl.repeat(cl.requester(ctx, func(r *http.Request) (*http.Response, error) {
		for {
			response, err := pool.RoundTrip(r)
			var refused *http3.Error
			if errors.As(err, &refused) && (refused.ErrorCode == http3.ErrCodeRequestRejected || overtaken(refused)) {
				continue // nothing was done for it (RFC 9114, section 4.1.1)
			}
			return response, err
		}
	}, &journey{}), &journey{}, ctx)
}

// overtaken says whether a GOAWAY closed the connection under a request of which nothing was sent yet. The library
// opens a request's stream first and counts it later; a GOAWAY that arrives between the two finds no stream counted,
// and the library closes the connection as idle.
func overtaken(err *http3.Error) bool {
	return !err.Remote && err.ErrorCode == http3.ErrCodeNoError
}

// work makes all requests, or streams, of a connection.
func (cl *client) work(ctx context.Context, conn *quic.Conn, trip *journey) error {
	if cl.o.verb == "echo" {
		return cl.repeat(func() (int64, error) { return echoOnce(ctx, conn, cl.o.size, trip) }, trip, ctx)
	}
	pool := &http3.Transport{DisableCompression: true}
	h3 := pool.NewClientConn(conn)
	return cl.repeat(cl.requester(ctx, func(r *http.Request) (*http.Response, error) {
		response, err := h3.RoundTrip(r)
		if !errors.Is(err, quic.Err0RTTRejected) {
			return response, err
		}
		// The connection goes on without what was sent in 0-RTT (RFC 9001, section 4.6.2).
		next, err := conn.NextConnection(ctx)
		if err != nil {
			return nil, err
		}
		h3 = pool.NewClientConn(next)
		// http3 resets the stream of the request that was refused, which by now is the one of the
		// same number in the connection that goes on.
		if response, err = h3.RoundTrip(r); err != nil {
			response, err = h3.RoundTrip(r)
		}
		return response, err
	}, trip), trip, ctx)
}

// repeat does one thing as often as the flags say, and on until told; once more after that.
func (cl *client) repeat(one func() (int64, error), trip *journey, ctx context.Context) error {
	par := max(1, cl.o.par)
	told := !cl.o.untilTold
	for done := 0; done < cl.o.expected() || !told; done += par {
		told = cl.enough()
		if cl.o.moves() && cl.o.rebindAt == 0 && done >= cl.o.expected()/2 {
			trip.begin()
			if err := trip.arrive(ctx); err != nil {
				return fmt.Errorf("move: %w", err)
			}
		}
		if err := cl.together(min(par, max(1, cl.o.expected()-done)), one); err != nil {
			return err
		}
		time.Sleep(cl.o.pause)
	}
	return nil
}

// enough says whether no more is asked for than the flags say.
func (cl *client) enough() bool {
	select {
	case <-cl.told:
		return true
	default:
		return false
	}
}

// together does something several times at once; the errors of all.
func (cl *client) together(times int, one func() (int64, error)) error {
	errs := make([]error, times)
	var all sync.WaitGroup
	for i := range times {
		all.Add(1)
		go func() {
			defer all.Done()
			begun := time.Now()
			octets, err := one()
			cl.tally.answered(octets, time.Since(begun), err)
			errs[i] = err
		}()
	}
	all.Wait()
	return errors.Join(errs...)
}

// journey is a connection's one change of address: begun half-way, or when so many bytes of
// bodies have passed, while they pass.
type journey struct {
	after int64
	move  func() error
	seen  atomic.Int64
	once  sync.Once
	mu    sync.Mutex
	end   chan struct{} // nil before it begins; closed when it has ended
	err   error
}

// passed counts bytes of bodies, in either direction.
func (j *journey) passed(octets int) {
	if j.after > 0 && j.seen.Add(int64(octets)) >= j.after {
		j.begin()
	}
}

func (j *journey) begin() {
	j.once.Do(func() {
		end := make(chan struct{})
		j.mu.Lock()
		j.end = end
		j.mu.Unlock()
		go func() {
			j.err = j.move()
			close(end)
		}()
	})
}

// arrive waits for the end of the move. A move that never began is an error: the test that asked
// for it would prove nothing.
func (j *journey) arrive(ctx context.Context) error {
	j.mu.Lock()
	end := j.end
	j.mu.Unlock()
	if end == nil {
		return fmt.Errorf("never begun: only %d bytes passed", j.seen.Load())
	}
	select {
	case <-end:
		return j.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
