// Command goq is a quic-go client and server for the tests: many connections, each of which
// counts, and each of which may change its address while it is in use.
//
//	goq get   -url https://10.0.0.1:443/bytes/100000 -n 100 -c 100 -r 4 -rebind -rebind-at 50000 -json
//	goq echo  -addr 10.0.0.1:443 -alpn echo -n 100 -c 100 -streams 4 -size 65536 -migrate -json
//	goq hq    transfer downloads https://10.0.0.1:443/a https://10.0.0.1:443/b
//	goq serve -addr 10.0.0.1:443 -label A -cert cert.pem -key key.pem -sid 000102 -cidlen 17
//
// The rule it keeps: whatever was lost shows in the summary and in the exit status. It is 0 only
// if every connection was made, every request got the right bytes, and every move took place.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/quic-go/quic-go"
)

// options are all flags of all verbs.
type options struct {
	verb, url, addr, sni, alpn, ca      string
	connections, atOnce, requests, par  int
	streams, size, post                 int
	rebind, migrate, shared, follow     bool
	rebindAt, expectSize                int64
	local, rebindTo                     string
	resume, v2, classic                 bool
	cidLength                           int
	timeout, pause, hold, keepAlive     time.Duration
	every                               time.Duration
	bodies, digests, checkPost, json    bool
	times                               bool
	label, serverID, resetKey, tokenKey string
	rotation                            int
	retry, untilTold                    bool
	certificate, privateKey, www        string
}

func main() {
	if len(os.Args) < 2 {
		exit("one of: goq get, goq echo, goq hq, goq serve; -h with each tells its flags")
	}
	// The sockets have the buffers they can get; quic-go cannot ask a swapped one.
	os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	if os.Args[1] == "hq" {
		if err := interop(os.Args[2:]); err != nil {
			exit(err.Error())
		}
		return
	}
	o := parse(os.Args[1], os.Args[2:])
	switch o.verb {
	case "get", "echo":
		if !runClients(o) {
			os.Exit(1)
		}
	case "serve":
		exit(serve(o).Error())
	default:
		exit("no such verb: " + o.verb)
	}
}

func parse(verb string, arguments []string) *options {
	o := &options{verb: verb}
	f := flag.NewFlagSet("goq "+verb, flag.ExitOnError)
	f.StringVar(&o.url, "url", "https://127.0.0.1:8443/", "get: what to fetch")
	f.StringVar(&o.addr, "addr", "127.0.0.1:9000", "echo, serve: the address")
	f.StringVar(&o.sni, "sni", "localhost", "TLS server name, if the URL names none")
	f.StringVar(&o.alpn, "alpn", "", "ALPN (h3, for echo: echo)")
	f.StringVar(&o.ca, "ca", "", "verify the server with the certificates of this file")
	f.IntVar(&o.connections, "n", 5, "connections in all")
	f.IntVar(&o.atOnce, "c", 5, "connections at once")
	f.DurationVar(&o.every, "every", 0, "begin the connections so far apart, however long those before them take")
	f.IntVar(&o.requests, "r", 10, "get: requests on each connection")
	f.IntVar(&o.par, "par", 1, "get: requests at once on each connection")
	f.IntVar(&o.streams, "streams", 4, "echo: streams on each connection")
	f.IntVar(&o.size, "size", 65536, "echo: bytes on each stream")
	f.IntVar(&o.post, "post", 0, "get: POST so many bytes of the pattern")
	f.BoolVar(&o.rebind, "rebind", false, "swap the UDP socket under the connection (NAT rebinding)")
	f.BoolVar(&o.migrate, "migrate", false, "probe a new path, then switch to it (active migration)")
	f.Int64Var(&o.rebindAt, "rebind-at", 0, "move after so many bytes of bodies, sent or received, not half-way between requests")
	f.DurationVar(&o.keepAlive, "keepalive", 0, "send a PING after so long a silence (with -rebind: 100 ms)")
	f.StringVar(&o.local, "local", "", "the local IP address, or address and port")
	f.StringVar(&o.rebindTo, "rebind-to", "", "the local IP address after the move")
	f.BoolVar(&o.follow, "follow", false, "get: when the server says GOAWAY, go on with another connection")
	f.BoolVar(&o.shared, "shared", false, "all connections through one UDP socket")
	f.BoolVar(&o.resume, "resume", false, "share TLS sessions and tokens between connections, try 0-RTT")
	f.BoolVar(&o.v2, "v2", false, "QUIC version 2")
	f.BoolVar(&o.classic, "classic", false, "no post-quantum key share: the ClientHello fits one Initial")
	f.IntVar(&o.cidLength, "cidlen", 0, "bytes of own connection IDs (0: quic-go's choice)")
	f.DurationVar(&o.timeout, "timeout", 10*time.Second, "how long a connection may take in all")
	f.DurationVar(&o.pause, "pause", 0, "pause between the requests of a connection")
	f.DurationVar(&o.hold, "hold", 0, "keep each connection open so long after its last request")
	f.BoolVar(&o.untilTold, "until-told", false, "go on with requests, or streams, until SIGUSR1")
	f.Int64Var(&o.expectSize, "expect-size", -1, "get: any other size of an answer is a failure")
	f.BoolVar(&o.checkPost, "check-post", false, "the answer to a POST is its body, or its size and SHA-256")
	f.BoolVar(&o.bodies, "bodies", false, "count the different short answers")
	f.BoolVar(&o.digests, "sha256", false, "count the different answers by SHA-256")
	f.BoolVar(&o.json, "json", false, "end with the summary as one line of JSON")
	f.BoolVar(&o.times, "times", false, "have the time of each handshake in the summary")
	f.StringVar(&o.label, "label", "A", "serve: what /label answers")
	f.StringVar(&o.serverID, "sid", "", "serve: server ID (hex) in QUIC-LB connection IDs in clear")
	f.IntVar(&o.rotation, "cr", 0, "serve: QUIC-LB configuration, 0 to 6")
	f.BoolVar(&o.retry, "retry", false, "serve: Retry for every new connection")
	f.StringVar(&o.resetKey, "skey", "", "serve: stateless reset key, 32 bytes in hex")
	f.StringVar(&o.tokenKey, "tkey", "", "serve: token key, 32 bytes in hex")
	f.StringVar(&o.certificate, "cert", "cert.pem", "serve: certificate")
	f.StringVar(&o.privateKey, "key", "key.pem", "serve: private key")
	f.StringVar(&o.www, "www", ".", "serve: folder to serve")
	f.Parse(arguments) // exits by itself if it fails
	if o.alpn == "" {
		o.alpn = "h3"
		if verb == "echo" {
			o.alpn = "echo"
		}
	}
	return o
}

// target is where the clients connect to.
func (o *options) target() (*net.UDPAddr, error) {
	host := o.addr
	if o.verb == "get" {
		u, err := url.Parse(o.url)
		if err != nil {
			return nil, err
		}
		host = u.Host
		if u.Port() == "" {
			host = net.JoinHostPort(u.Hostname(), "443")
		}
		if net.ParseIP(u.Hostname()) == nil {
			o.sni = u.Hostname()
		}
	}
	return net.ResolveUDPAddr("udp", host)
}

// quicConfig has room for big transfers: the tests want to see the router's limits, not ours.
func (o *options) quicConfig() *quic.Config {
	config := &quic.Config{
		MaxIdleTimeout: 30 * time.Second, HandshakeIdleTimeout: o.timeout, Allow0RTT: true, MaxIncomingStreams: 1000,
		InitialStreamReceiveWindow: 4 << 20, MaxStreamReceiveWindow: 16 << 20,
		InitialConnectionReceiveWindow: 8 << 20, MaxConnectionReceiveWindow: 32 << 20,
	}
	config.KeepAlivePeriod = o.keepAlive
	if o.rebind && o.keepAlive == 0 {
		// A client that only receives has nothing to say from its new address, and the server goes
		// on sending to the old one. What rouses it is the keep-alive.
		config.KeepAlivePeriod = 100 * time.Millisecond
	}
	if o.v2 {
		config.Versions = []quic.Version{quic.Version2}
	}
	if o.resume {
		config.TokenStore = quic.NewLRUTokenStore(10, 4)
	}
	return config
}

func (o *options) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{InsecureSkipVerify: o.ca == "", ServerName: o.sni, NextProtos: []string{o.alpn}}
	if o.ca != "" {
		text, err := os.ReadFile(o.ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s: no certificate in it", o.ca)
		}
	}
	if o.classic {
		config.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256}
	}
	if o.resume {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(100)
	}
	return config, nil
}

// expected is how many requests, or streams, each connection has to make.
func (o *options) expected() int {
	if o.verb == "echo" {
		return o.streams
	}
	return o.requests
}

func (o *options) moves() bool { return o.rebind || o.migrate }

// withTimeout limits one connection, its time on hold not counted.
func (o *options) withTimeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), o.timeout+o.hold)
}

func exit(message string) {
	fmt.Fprintln(os.Stderr, "goq:", message)
	os.Exit(2)
}
