// A server, for tests that put a peer behind or in place of the router.

package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// serve answers until it fails.
func serve(o *options) error {
	certificate, err := tls.LoadX509KeyPair(o.certificate, o.privateKey)
	if err != nil {
		return err
	}
	transport, err := serverTransport(o)
	if err != nil {
		return err
	}
	secure := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: strings.Split(o.alpn, ",")}
	listener, err := transport.ListenEarly(secure, o.quicConfig())
	if err != nil {
		return err
	}
	fmt.Printf("serving %s label=%s alpn=%s sid=%s\n", o.addr, o.label, o.alpn, o.serverID)
	if o.alpn == "h3" {
		return (&http3.Server{Handler: pages(o)}).ServeListener(listener)
	}
	for {
		conn, err := listener.Accept(context.Background())
		if err != nil {
			return err
		}
		go echoStreams(conn)
	}
}

func serverTransport(o *options) (*quic.Transport, error) {
	address, err := net.ResolveUDPAddr("udp", o.addr)
	if err != nil {
		return nil, err
	}
	socket, err := net.ListenUDP("udp", address)
	if err != nil {
		return nil, err
	}
	transport := &quic.Transport{Conn: socket, ConnectionIDLength: o.cidLength}
	if o.serverID != "" {
		id, err := hex.DecodeString(strings.TrimPrefix(o.serverID, "0x"))
		if err != nil {
			return nil, fmt.Errorf("-sid: %w", err)
		}
		length := o.cidLength
		if length == 0 {
			length = 8
		}
		transport.ConnectionIDGenerator = &plainIDs{id, byte(o.rotation), length}
	}
	if o.resetKey != "" {
		transport.StatelessResetKey = &quic.StatelessResetKey{}
		if err := key(o.resetKey, transport.StatelessResetKey[:]); err != nil {
			return nil, fmt.Errorf("-skey: %w", err)
		}
	}
	if o.tokenKey != "" {
		transport.TokenGeneratorKey = &quic.TokenGeneratorKey{}
		if err := key(o.tokenKey, transport.TokenGeneratorKey[:]); err != nil {
			return nil, fmt.Errorf("-tkey: %w", err)
		}
	}
	if o.retry {
		transport.VerifySourceAddress = func(net.Addr) bool { return true }
	}
	return transport, nil
}

func pages(o *options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir(o.www)))
	mux.HandleFunc("/whoami", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s %s", o.label, r.RemoteAddr) })
	mux.HandleFunc("/label", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, o.label) })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	mux.HandleFunc("/sink", func(w http.ResponseWriter, r *http.Request) {
		octets, _ := io.Copy(io.Discard, r.Body) // what did not come is missing from the answer
		fmt.Fprintf(w, "%s got %d", o.label, octets)
	})
	return mux
}

func echoStreams(conn *quic.Conn) {
	for {
		stream, err := conn.AcceptStream(context.Background())
		if err != nil {
			return
		}
		go func() {
			io.Copy(stream, stream)
			stream.Close()
		}()
	}
}

// plainIDs makes QUIC-LB connection IDs in clear: three bits of rotation, five of length less
// one, the server ID, then random bytes.
type plainIDs struct {
	serverID []byte
	rotation byte
	length   int
}

func (p *plainIDs) ConnectionIDLen() int { return p.length }

func (p *plainIDs) GenerateConnectionID() (quic.ConnectionID, error) {
	id := make([]byte, p.length)
	if _, err := rand.Read(id); err != nil {
		return quic.ConnectionID{}, err
	}
	id[0] = p.rotation<<5 | byte(p.length-1)&0x1f
	copy(id[1:], p.serverID)
	return quic.ConnectionIDFromBytes(id), nil
}

func key(text string, into []byte) error {
	octets, err := hex.DecodeString(text)
	if err == nil && len(octets) != len(into) {
		err = fmt.Errorf("%d bytes, not %d", len(octets), len(into))
	}
	copy(into, octets)
	return err
}
